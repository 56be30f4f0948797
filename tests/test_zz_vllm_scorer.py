"""The real vLLM against the torch scorer. Last in the order, for its environment takes minutes to make once."""

import dataclasses
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, run_command
from test_torch_scorer import save_random_model
from transformers import GPT2Config

from toedit import vllm_engine
from toedit.config import ScoreConfig, ScorerConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration, UnusableInput
from toedit.prior_pass import PriorPass
from toedit.scorers import BatchScores, ScorerElsewhere, load_scorer, vllm
from toedit.windows import ModelInput

VLLM = ScorerConfig(kind="vllm", batch_tokens=512)
TEXT = "The cat sat quietly on the mat, as the story goes. Nobody sang an old song in the garden. "


@pytest.fixture(scope="module")
def passes(vllm_python, small_prior) -> dict[str, PriorPass]:
    """The same prior in both engines; windows of 48 tokens."""
    score = ScoreConfig(min_context=12, min_p=0.5, top_k=8)
    return {
        kind: PriorPass(small_prior, score, ScorerConfig(kind=kind, batch_tokens=512)) for kind in ("torch", "vllm")
    }


def scored(prior: PriorPass, texts: list[str]):
    with Progress("test", None) as progress:
        return prior.score_texts([str(number) for number in range(len(texts))], texts, progress, 1.0)


def assert_equal_scores(ours, theirs, threshold: float) -> None:
    """Log-probabilities within 1e-4, the same candidates up to ties, and no token confident in one engine only."""
    np.testing.assert_array_equal(ours.token_id_T, theirs.token_id_T)
    np.testing.assert_allclose(ours.logprob_T, theirs.logprob_T, atol=1e-4)
    assert (np.abs(ours.logprob_T - np.log(threshold)) > 1e-4).all(), "choose a threshold that no token sits on"
    np.testing.assert_array_equal(ours.token_N, theirs.token_N)
    np.testing.assert_allclose(ours.candidate_logprob_NK, theirs.candidate_logprob_NK, atol=1e-4)
    for row in np.flatnonzero((ours.candidate_id_NK != theirs.candidate_id_NK).any(axis=1)):
        for place in np.flatnonzero(ours.candidate_id_NK[row] != theirs.candidate_id_NK[row]):
            gaps = np.abs(ours.candidate_logprob_NK[row] - ours.candidate_logprob_NK[row, place])
            is_last = place == ours.candidate_id_NK.shape[1] - 1  # its rival may be just outside
            assert is_last or (np.delete(gaps, place) < 1e-4).any()


def test_documents_of_any_length_have_the_torch_scorers_numbers(passes):
    texts = [TEXT * repeats for repeats in (1, 2, 5, 9)] + ["A", "Zoë 🙂", "café " * 60]
    ours, theirs = scored(passes["vllm"], texts), scored(passes["torch"], texts)
    assert np.diff(ours.token_offset_D1).max() > 3 * 48  # several windows, the first ones as long as the context
    assert not np.isnan(ours.logprob_T).any()
    assert len(ours.token_N) > 50
    assert_equal_scores(ours, theirs, 0.5)


def test_the_order_of_documents_and_their_batches_do_not_matter(passes):
    texts = [TEXT * n for n in range(1, 6)] + ["The cat waited for the bus"]
    forward, backward = scored(passes["vllm"], texts), scored(passes["vllm"], texts[::-1])
    parts = np.split(backward.logprob_T, backward.token_offset_D1[1:-1])
    np.testing.assert_allclose(forward.logprob_T, np.concatenate(parts[::-1]), atol=1e-5)
    assert len(forward.token_N) == len(backward.token_N)


def test_a_vocabulary_below_k_and_learned_positions(vllm_python, tmp_path):
    """GPT-2 has no position beyond its context, and the window fills it; K is the whole vocabulary."""
    config = GPT2Config(vocab_size=19, n_embd=64, n_layer=2, n_head=2, n_positions=32)
    folder = save_random_model(config, tmp_path / "model")
    generator = np.random.default_rng(1)
    batch = [ModelInput(generator.integers(0, 19, n).astype(np.int32), first) for n, first in ((32, 1), (9, 4), (2, 1))]
    score = ScoreConfig(min_p=0.05)
    kinds = [dataclasses.replace(VLLM, kind=kind) for kind in ("vllm", "torch")]
    ours, theirs = (load_scorer(folder, score, kind).score(batch) for kind in kinds)
    assert ours.candidate_id_NK.shape[1] == 19
    np.testing.assert_allclose(ours.logprob_R, theirs.logprob_R, atol=1e-4)
    np.testing.assert_array_equal(ours.confident_N, theirs.confident_N)
    np.testing.assert_allclose(ours.candidate_logprob_NK, theirs.candidate_logprob_NK, atol=1e-4)
    np.testing.assert_array_equal(np.sort(ours.candidate_id_NK, axis=1)[0], np.arange(19))


def test_bfloat16_operands_still_give_float32_log_probabilities(vllm_python, small_prior):
    prior = PriorPass(small_prior, ScoreConfig(dtype="bfloat16"), VLLM)
    logprob_T = scored(prior, [TEXT * 3]).logprob_T
    import torch

    rounded = torch.from_numpy(logprob_T).bfloat16().float().numpy()
    assert (rounded != logprob_T).mean() > 0.5
    plain = scored(PriorPass(small_prior, ScoreConfig(), ScorerConfig()), [TEXT * 3]).logprob_T
    assert np.abs(np.exp(logprob_T) - np.exp(plain)).mean() < 0.02


def test_the_whole_edit_is_the_torch_scorers(vllm_python, corpus_file, small_prior, tmp_path):
    """One command in the core's Python; the threshold lies where no token does, so that rounding decides nothing."""
    ledgers, counts = [], []
    for kind in ("torch", "vllm"):
        run_command(
            "stage=edit", f"scorer={kind}", "corpus=local", f"corpus.path={corpus_file}", "prior=local",
            f"prior.path={small_prior}", "edit.p=0.95", "edit.temperature=2", f"out={kind}", cwd=tmp_path,
        )  # fmt: skip
        rows = pq.read_table(tmp_path / kind / "edits").to_pylist()
        ledgers.append({(row["id"], row["position"]): row["new_id"] for row in rows})
        counts.append(json.loads((tmp_path / kind / "manifest.json").read_text())["counts"])
    assert counts[0]["tokens"] == counts[1]["tokens"] and counts[0]["changed"] > 50
    # A draw within rounding of a boundary may fall on either side; there are thousands of draws and few such.
    assert abs(counts[0]["eligible"] - counts[1]["eligible"]) <= 2
    assert len(set(ledgers[0].items()) ^ set(ledgers[1].items())) <= 4
    assert len(list((tmp_path / "artifacts" / "scores").iterdir())) == 2  # the engine belongs to the scores' identity
    engines = [
        json.loads(path.read_text())["runtime"]["engine"]
        for path in (tmp_path / "artifacts" / "scores").glob("*/manifest.json")
    ]
    assert sorted(engine.get("vllm", "").split(".")[:2] for engine in engines) == [[""], ["0", "32"]]


def test_the_command_runs_under_the_environments_own_python(vllm_python, corpus_file, small_prior, tmp_path):
    done = subprocess.run(
        [str(vllm_python), str(REPOSITORY / "run.py"), "stage=score", "scorer=vllm", "corpus=local",
         f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}", "out=scores"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores" / "manifest.json").exists()


def test_a_model_that_vllm_cannot_run_is_one_line(vllm_python, tmp_path):
    folder = save_random_model(GPT2Config(vocab_size=19, n_embd=32, n_layer=1, n_head=2, n_positions=32), tmp_path)
    with pytest.raises(UnusableInput, match="vLLM cannot run this model") as error:
        load_scorer(folder, ScoreConfig(), VLLM)  # heads of 16 dimensions
    assert "\n" not in str(error.value)


def test_the_engine_ends_with_the_scorer_and_its_death_is_one_line(passes, small_prior):
    scorer = load_scorer(small_prior, ScoreConfig(), dataclasses.replace(VLLM, self_check=False))
    assert isinstance(scorer, ScorerElsewhere)
    batch = [ModelInput(np.arange(5, dtype=np.int32), 1)]
    assert len(scorer.score(batch).logprob_R) == 4
    process = scorer.process
    process.kill()
    with pytest.raises(UnusableInput, match="scorer=vllm: its process ended"):
        scorer.score(batch)
    other = load_scorer(small_prior, ScoreConfig(), dataclasses.replace(VLLM, self_check=False))
    assert isinstance(other, ScorerElsewhere)
    process = other.process
    del other
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is not None


# --- without vLLM -----------------------------------------------------------------------------------------------------


def test_a_missing_environment_says_which_version_serves_and_how_to_make_it(corpus_file, small_prior, tmp_path):
    run = run_command(
        "stage=score", "scorer=vllm", "corpus=local", f"corpus.path={corpus_file}", "prior=local",
        f"prior.path={small_prior}", cwd=tmp_path, expect=2, TOEDIT_VLLM_VENV=str(tmp_path / "nowhere"),
    )  # fmt: skip
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("error: scorer=vllm: ") and "0.32" in line and "bash scripts/environment_vllm.sh" in line
    assert "Traceback" not in run.stderr


def test_versions_that_do_not_serve_are_refused(small_prior, monkeypatch):
    assert [vllm_engine.serves(v) for v in ("0.32.0", "0.32.1", "0.32")] == [True] * 3
    assert [vllm_engine.serves(v) for v in ("0.31.2", "0.33.0", "0.320.0", "1.32.0", None)] == [False] * 5
    monkeypatch.setattr(vllm_engine, "installed_version", lambda: "0.10.2")
    with pytest.raises(BadConfiguration, match=r"vllm 0.32 serves, this Python has 0.10.2; make .*environment_vllm.sh"):
        vllm.VllmScorer(small_prior, ScoreConfig(), VLLM)
    monkeypatch.setenv("TOEDIT_VLLM_VENV", "nowhere")
    with pytest.raises(BadConfiguration, match=r"vllm 0.10.2 of this Python does not serve"):
        load_scorer(small_prior, ScoreConfig(), VLLM)


def test_a_python_without_vllm_is_one_line(small_prior):
    import sys

    with pytest.raises(BadConfiguration, match="this Python has none"):
        load_scorer(small_prior, ScoreConfig(), dataclasses.replace(VLLM, python=sys.executable))


def test_steps_are_sized_by_their_logits():
    assert vllm.step_size(8_000, 4096) == 4096
    large = vllm.step_size(128_256, 1_000_000)
    assert 1000 < large < 2000
    assert large * 128_256 * 12 <= 2 << 30


def test_the_self_check_sees_differences():
    def scores(logprob: float, candidate: float) -> BatchScores:
        return BatchScores(
            np.array([logprob], np.float32), np.array([0]), np.array([[1, 2]], np.int32),
            np.array([[-0.1, candidate]], np.float32),
        )  # fmt: skip

    plain = scores(-0.1, -3)
    assert vllm.largest_difference(plain, scores(-0.10005, -3.0001), "float32") < 1
    assert vllm.largest_difference(plain, scores(-0.1003, -3), "float32") > 1
    assert vllm.largest_difference(plain, scores(-0.1, -3.01), "float32") > 1
    assert vllm.largest_difference(plain, scores(-0.15, -3), "bfloat16") < 1
    assert not vllm.largest_difference(plain, scores(float("nan"), -3), "float32") <= 1
    shorter = dataclasses.replace(plain, candidate_logprob_NK=plain.candidate_logprob_NK[:, :1])
    assert not vllm.largest_difference(plain, shorter, "float32") <= 1


@pytest.mark.parametrize(("engine", "words"), [("moody", "in two orders"), ("other", "and by the torch scorer")])
def test_the_self_check_stops_with_one_line(engine, words, monkeypatch):
    """An engine that depends on the order of requests, and one that is steadily wrong."""
    sequences = [ModelInput(np.arange(length, dtype=np.int32), 1) for length in (3, 5)]

    def answer(batch: list[ModelInput], shift: float) -> BatchScores:
        logprob_R = np.concatenate([-np.arange(1, 1 + sequence.scored) - shift for sequence in batch])
        rows = len(logprob_R)
        return BatchScores(
            logprob_R.astype(np.float32), np.arange(rows), np.tile(np.array([[1, 2]], np.int32), (rows, 1)),
            np.stack([logprob_R, logprob_R - 1], axis=1).astype(np.float32),
        )  # fmt: skip

    scorer = object.__new__(vllm.VllmScorer)
    shifts = {"moody": lambda batch: 0.01 * (len(batch[0].token_ids_L) == 5), "other": lambda batch: 0.01}
    for name, expected in (("exact", None), (engine, words)):
        shift = shifts.get(name, lambda batch: 0.0)
        monkeypatch.setattr(scorer, "_score", lambda batch, _, shift=shift: answer(batch, shift(batch)))
        if expected is None:
            scorer._self_check(sequences, answer(sequences, 0.0), "float32", Path("model"))
            continue
        with pytest.raises(UnusableInput, match=f"self-check failed.*{expected}.*scorer=torch"):
            scorer._self_check(sequences, answer(sequences, 0.0), "float32", Path("model"))


class FakeOutput:
    """vLLM's flat lists for tokens 3, 1, 2 with K = 2: itself first, then the two most probable."""

    def __init__(self) -> None:
        self.token_ids = [1, 1, 0, 2, 5, 2]
        self.logprobs = [-0.1, -0.1, -3.0, -2.0, -0.2, -2.0]


def unpack(flat, min_p: float = 0.5):
    scorer = object.__new__(vllm.VllmScorer)
    scorer.top_k = 2
    return scorer._unpack(ModelInput(np.array([3, 1, 2], np.int32), 1), flat, float(np.log(min_p)))


def test_candidates_come_from_the_top_k_and_only_for_confident_rows():
    logprob_L, confident_L, id_LK, logprob_LK = unpack(FakeOutput())
    np.testing.assert_allclose(logprob_L, [-0.1, -2.0])
    assert confident_L.tolist() == [0]
    assert id_LK.tolist() == [[1, 0]]
    np.testing.assert_allclose(logprob_LK, [[-0.1, -3.0]])
    assert unpack(FakeOutput(), 0.99)[2].shape == (0, 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda flat: flat.logprobs.pop(), "not 3 for each"),
        (lambda flat: flat.logprobs.__setitem__(2, -np.inf), "fewer than 2 finite candidates"),
        (lambda flat: flat.logprobs.__setitem__(2, -0.05), "fewer than 2 finite candidates in order"),
        (lambda flat: flat.logprobs.__setitem__(3, np.nan), "NaN for token 2"),
        (lambda flat: flat.token_ids.__setitem__(3, 9), "other tokens"),
    ],
)
def test_what_vllm_must_not_return_is_refused(spoil, message):
    flat = FakeOutput()
    spoil(flat)
    with pytest.raises(UnusableInput, match=message):
        unpack(flat)
