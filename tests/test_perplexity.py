"""Perplexity: windows, agreement with plain forward passes, both conventions, standard errors, whole commands."""

import csv
import json
import math
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import files_of, repetitive_documents, run_command, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from tokenizers_fixture import require_test_data
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval import measuring
from eval.perplexity import Measured, PerplexityPass
from eval.stage import plan
from eval.statistics import paper_statistic, rolling_statistic, standard_errors, values
from toedit.config import CheckpointConfig, Config, EvalConfig, ScorerConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration, UnusableInput
from toedit.units import units_of
from toedit.windows import rolling_windows

TEXTS = [
    "The cat sat quietly on the mat, as the story goes. " * 9,
    "Nobody sang an old song in the garden.",
    "A",
    "Zoë 🙂 waited for the bus near the old mill, as the story goes. " * 3,
    "  two  spaces,\n\nlines and\ttabs ",
]


def measure(model, texts=TEXTS, scorer=None, **settings) -> Measured:
    pass_ = PerplexityPass(model, EvalConfig(**settings), scorer or ScorerConfig())
    prepared = pass_.prepare([str(n) for n in range(len(texts))], list(texts))
    with Progress("test", None) as progress:
        return pass_.measure(prepared, texts, pass_.scorers[0], progress, 1.0)


def evaluate(root, model, sets, name="model", **settings):
    """The folder of a finished eval artifact."""
    checkpoint = CheckpointConfig(path=str(model), name=name)
    return plan(
        Config(checkpoint=checkpoint, eval=EvalConfig(sets=str(sets), **settings), artifacts=str(root))
    ).ensure()


def rows_of(folder) -> dict[tuple[str, str], dict]:
    return {(row["set"], row["metric"]): row for row in json.loads((folder / "results.json").read_text())}


def write_sets(folder, split="val", **sets):
    for name, texts in sets.items():
        (folder / name / split).mkdir(parents=True)
        rows = [{"id": f"{name}/{n}", "text": text} for n, text in enumerate(texts)]
        write_jsonl(folder / name / split / f"{name}.jsonl", rows)
    return folder


# --- windows ----------------------------------------------------------------------------------------------------------


@given(tokens=st.integers(0, 300), length=st.integers(2, 40), data=st.data(), has_prefix=st.booleans())
def test_rolling_windows_predict_every_token_once_and_fill_the_model(tokens, length, data, has_prefix):
    min_context = data.draw(st.integers(1, length))
    laid = rolling_windows(tokens, length, min_context, has_prefix)
    predicted = [position for window in laid for position in range(window.first_scored, window.stop)]
    assert predicted == list(range(0 if has_prefix else 1, tokens))
    for number, window in enumerate(laid):
        assert window.prefixed == (number == 0)
        read = window.stop - window.start - 1 + (window.prefixed and has_prefix)
        if number:
            assert read == length  # the last window is moved to the left, not cut
            assert window.first_scored - window.start >= min_context
        else:
            assert read <= length


# --- agreement with plain forward passes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "min_context"), [(None, 1), (17, 1), (17, 9)])
def test_rolling_log_probabilities_equal_plain_forward_passes(small_prior, window, min_context):
    """Written out from the definition: each later window predicts the next stride, the model reads its whole length."""
    measured = measure(small_prior, window=window, min_context=min_context)
    model = AutoModelForCausalLM.from_pretrained(small_prior, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(small_prior)
    length = window or model.config.max_position_embeddings
    several = 0
    for text, nll, tokens in zip(TEXTS, measured.nll_D, measured.tokens_D, strict=True):
        ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]
        total, done = 0.0, 0
        while done < len(ids) - 1:
            new = min(length if done == 0 else length - min_context + 1, len(ids) - 1 - done)
            stop = done + new  # ids[stop] is the last one predicted
            read = ids[max(stop - length, 0) : stop]
            with torch.inference_mode():
                logprob_LV = model(torch.tensor([read])).logits[0].double().log_softmax(-1)
            target = torch.tensor(ids[done + 1 : stop + 1])
            total -= logprob_LV[-new:].gather(-1, target[:, None]).sum().item()
            several += done > 0
            done = stop
        assert tokens == len(ids) - 1
        assert nll == pytest.approx(total, rel=1e-5)
    assert several >= 3


def test_the_result_does_not_depend_on_batches(small_prior):
    one = measure(small_prior, scorer=ScorerConfig(batch_tokens=1))
    many = measure(small_prior, scorer=ScorerConfig(batch_tokens=100_000))
    np.testing.assert_allclose(one.nll_D, many.nll_D, rtol=1e-5)
    assert one.scored_D.sum() == one.tokens_D.sum()


def test_words_and_bytes_are_those_of_the_text(small_prior):
    measured = measure(small_prior)
    assert measured.bytes_D.tolist() == [len(text.encode()) for text in TEXTS]
    assert measured.words_D.tolist() == [len(re.split(r"\s+", text)) for text in TEXTS]


def test_text_that_spells_a_special_token_is_ordinary_text(small_prior):
    special = AutoTokenizer.from_pretrained(small_prior).bos_token
    assert measure(small_prior, texts=[special]).tokens_D[0] > 1


def test_without_a_context_token_the_first_token_stays_out(small_prior):
    measured = measure(small_prior, context_token="none")
    assert (measured.tokens_D - measured.scored_D == 1).all()
    assert measured.nll_D[2] == 0  # a document of one token


def test_the_paper_mode_equals_padded_batches_under_the_models_own_loss(small_prior):
    """Documents cut and padded, padding masked, one loss a batch, the plain mean of these, then the exponential."""
    texts = [document["text"] for document in repetitive_documents(23)]
    length, batch_documents = 30, 4
    measured = measure(small_prior, texts=texts, mode="paper", max_tokens=length)
    model = AutoModelForCausalLM.from_pretrained(small_prior, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(small_prior)
    losses = []
    for start in range(0, len(texts), batch_documents):
        ids = [tokenizer(text)["input_ids"][:length] for text in texts[start : start + batch_documents]]
        token_BL = torch.full((len(ids), length), tokenizer.eos_token_id)
        label_BL = torch.full((len(ids), length), -100)
        for row, own in enumerate(ids):
            token_BL[row, : len(own)] = label_BL[row, : len(own)] = torch.tensor(own)
        with torch.inference_mode():
            losses.append(model(input_ids=token_BL, labels=label_BL).loss.item())
    found = values(paper_statistic(measured, batch_documents, 20.0), len(texts))
    assert found["nll"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    other = values(paper_statistic(measured, 64, 20.0), len(texts))
    assert abs(other["nll"] / found["nll"] - 1) > 1e-4  # the batch size is part of that convention
    capped = values(paper_statistic(measured, batch_documents, 0.1), len(texts))
    assert capped == {"nll": 0.1, "perplexity": pytest.approx(math.exp(0.1))}


# --- metrics and standard errors --------------------------------------------------------------------------------------


def random_measured(documents: int, seed: int = 0, pieces: int = 1) -> Measured:
    generator = np.random.default_rng(seed)
    tokens_D = generator.integers(5, 400, documents * pieces)
    nll_D = tokens_D * generator.gamma(20, 0.15, documents * pieces)
    return Measured(tokens_D, tokens_D, tokens_D * 3 // 4, tokens_D * 4, nll_D)


def test_the_metrics_are_one_sum_in_different_units():
    measured = random_measured(50)
    found = values(rolling_statistic(measured), 50)
    total = measured.nll_D.sum()
    assert found["nll"] * measured.scored_D.sum() == pytest.approx(total)
    for name, units_D in (("", measured.scored_D), ("word_", measured.words_D), ("byte_", measured.bytes_D)):
        assert math.log(found[f"{name}perplexity"]) * units_D.sum() == pytest.approx(total)
    assert found["bits_per_byte"] * math.log(2) * measured.bytes_D.sum() == pytest.approx(total)


def test_the_standard_error_is_that_of_a_ratio_of_means():
    """Against the textbook's linearised formula for a ratio estimator."""
    measured = random_measured(400)
    nll = measured.nll_D.sum() / measured.scored_D.sum()
    residual_D = measured.nll_D - nll * measured.scored_D
    expected = math.sqrt(400 / 399 * (residual_D**2).sum()) / measured.scored_D.sum()
    found = standard_errors(rolling_statistic(measured), np.arange(400), 4000, 0, "set")
    assert found["nll"] == pytest.approx(expected, rel=0.06)
    assert found["perplexity"] == pytest.approx(math.exp(nll) * expected, rel=0.08)


def test_pieces_of_one_origin_weigh_as_the_whole_does():
    """Cut documents into pieces: with origins the error stays exactly what it was; without, it would shrink or grow."""
    pieces = random_measured(60, pieces=5)
    whole = Measured(*(getattr(pieces, f"{key}_D").reshape(60, 5).sum(axis=1)
                       for key in ("tokens", "scored", "words", "bytes", "nll")))  # fmt: skip
    unit_D, unit = units_of([f"book {number // 5}" for number in range(300)])
    assert unit == "origin" and unit_D.max() == 59
    with_origin = standard_errors(rolling_statistic(pieces), unit_D, 200, 3, "set")
    of_whole = standard_errors(rolling_statistic(whole), np.arange(60), 200, 3, "set")
    assert with_origin == {name: pytest.approx(error, rel=1e-9) for name, error in of_whole.items()}


def test_units_are_documents_unless_origins_tell_them_apart():
    assert units_of([None, None, None])[0].tolist() == [0, 1, 2]
    assert units_of(["a", "b", "a", None, None])[0].tolist() == [0, 1, 0, 2, 3]
    assert units_of(["all", "all", "all"])[1] == "document"


def test_one_document_has_no_standard_error():
    assert standard_errors(rolling_statistic(random_measured(1)), np.zeros(1, np.int64), 100, 0, "set") == {}


def test_errors_of_the_paper_mode_shrink_with_more_documents():
    errors = [
        standard_errors(paper_statistic(random_measured(n), 16, 20.0), np.arange(n), 300, 0, "set")["nll"]
        for n in (64, 1024)
    ]
    assert 2 < errors[0] / errors[1] < 8  # four, give or take


# --- whole artifacts --------------------------------------------------------------------------------------------------


def test_rows_say_what_was_measured_and_how(small_prior, tmp_path):
    sets = write_sets(tmp_path / "sets", plain=TEXTS, pattern=[d["text"] for d in repetitive_documents(12)])
    folder = evaluate(tmp_path / "a", small_prior, sets, resamples=50)
    rows = rows_of(folder)
    metrics = {"nll", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
    assert set(rows) == {(name, metric) for name in ("plain", "pattern", "mean of sets") for metric in metrics}
    row = rows["plain", "nll"]
    assert row["model"] == "model" and row["n"] == row["units"] == 5 and row["unit"] == "document"
    assert (row["mode"], row["window"], row["stride"]) == ("rolling", 48, 48) and row["context_token"]
    measured = measure(small_prior)
    assert row["value"] == pytest.approx(measured.nll_D.sum() / measured.scored_D.sum()) and row["stderr"] > 0
    pair = [rows[name, "perplexity"] for name in ("plain", "pattern")]
    mean = rows["mean of sets", "perplexity"]
    assert mean["value"] == pytest.approx(sum(row["value"] for row in pair) / 2)
    assert mean["stderr"] == pytest.approx(math.hypot(*(row["stderr"] for row in pair)) / 2)
    with (folder / "results.csv").open() as file:
        tidy = list(csv.DictReader(file))
    assert [float(line["value"]) for line in tidy] == [row["value"] for row in rows.values()]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"checkpoint", "sets"} and manifest["counts"]["documents"] == 17


def test_a_longer_context_is_another_measurement_and_a_stated_one(small_prior, tmp_path):
    sets = write_sets(tmp_path / "sets", one=TEXTS)
    wide = rows_of(evaluate(tmp_path / "a", small_prior, sets, resamples=0, min_context=24))["one", "nll"]
    assert (wide["window"], wide["stride"], wide["stderr"]) == (48, 25, None)
    assert wide["value"] != rows_of(evaluate(tmp_path / "a", small_prior, sets, resamples=0))["one", "nll"]["value"]


def test_bad_rows_are_listed_and_a_set_named_by_its_rows_is_one_set(small_prior, tmp_path):
    sets = tmp_path / "val.jsonl"
    lines = [json.dumps({"text": text, "meta": {"pile_set_name": "Even" if n % 2 else "Odd"}}) for n, text in
             enumerate(TEXTS)]  # fmt: skip
    sets.write_text("\n".join([*lines, "{broken", '{"text": ""}', '{"text": "no set named"}']) + "\n")
    folder = evaluate(tmp_path / "a", small_prior, sets, set_fields=["meta.pile_set_name"], resamples=0)
    documents = {name: row["n"] for (name, metric), row in rows_of(folder).items() if metric == "nll"}
    assert documents == {"Even": 2, "Odd": 3, "val": 1, "mean of sets": 6}
    rejected = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejected] == [("val.jsonl", 6), ("val.jsonl", 7)]
    assert json.loads((folder / "manifest.json").read_text())["counts"]["rejected"] == 2
    with pytest.raises(UnusableInput, match=r"val\.jsonl line 6.*eval\.on_bad_row=reject"):
        evaluate(tmp_path / "a", small_prior, sets, on_bad_row="stop")


def test_an_interrupted_evaluation_goes_on_and_ends_with_the_same_bytes(small_prior, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_CHUNK_BYTES", 600)
    texts = [document["text"] for document in repetitive_documents(20)]
    sets = write_sets(tmp_path / "sets", a=texts[:12], b=texts[12:])
    whole = evaluate(tmp_path / "whole", small_prior, sets, resamples=20)
    chunks = sum(pq.read_metadata(file).num_rows > 0 for file in (whole / "samples").iterdir())
    calls, measure_chunk = [], PerplexityPass.measure

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure_chunk(self, *arguments)

    monkeypatch.setattr(PerplexityPass, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "cut", small_prior, sets, resamples=20)
    resumed = evaluate(tmp_path / "cut", small_prior, sets, resamples=20)
    # What was committed is not measured again; besides the interrupted chunk, the next one may have been begun.
    assert chunks + 1 <= len(calls) <= chunks + 2 and chunks > 6
    for name in ("results.json", "results.csv", "rejected.jsonl"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    assert files_of(resumed, "samples") == files_of(whole, "samples")


def test_a_text_of_one_endless_word_has_no_finite_word_perplexity(small_prior, tmp_path):
    sets = write_sets(tmp_path / "sets", endless=["qxzj" * 400])
    rows = rows_of(evaluate(tmp_path / "a", small_prior, sets))
    assert rows["endless", "word_perplexity"]["value"] is None
    assert rows["endless", "bits_per_byte"]["value"] > 1


def test_keys_that_the_mode_does_not_read_do_not_change_the_address(small_prior, tmp_path):
    sets = write_sets(tmp_path / "sets", one=TEXTS[:2])
    settings = {"sets": str(sets), "resamples": 0}

    def address(**further):
        checkpoint = CheckpointConfig(path=str(small_prior))
        return plan(Config(checkpoint=checkpoint, eval=EvalConfig(**settings, **further), artifacts=str(tmp_path))).path

    assert address(cap=5.0) == address() != address(window=20)
    assert address(mode="paper", cap=5.0) != address(mode="paper")
    with pytest.raises(BadConfiguration, match=r"eval\.mode=paper.*eval\.window"):
        EvalConfig(mode="paper", window=20)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_is_done_the_second_time(small_prior, tmp_path):
    write_sets(tmp_path / "sets", plain=TEXTS, other=TEXTS[:3])
    command = ["stage=eval", "eval=perplexity", f"checkpoint.path={small_prior}", "eval.sets=sets", "out=results"]
    first = run_command(*command, cwd=tmp_path)
    assert re.search(r"^  plain +5 +[\d,]+ +\S+ ± \S+", first.stdout, re.M) and "mean of sets" in first.stdout
    held = {file.name: file.read_bytes() for file in (tmp_path / "results").glob("*.*")}
    again = run_command(*command, cwd=tmp_path)
    assert "already there" in again.stdout
    run_command(*command[:-1], "out=results2", cwd=tmp_path)
    for name in ("results.json", "results.csv"):
        assert (tmp_path / "results2" / name).read_bytes() == held[name]
    # The artifact that holds hf/, and hf/ itself, are the same model.
    run_command("stage=eval", f"checkpoint.path={small_prior.parent}", "eval.sets=sets", "out=results", cwd=tmp_path)
    dry = run_command("stage=eval", f"checkpoint.path={small_prior}", "eval.sets=sets", "dry_run=true", cwd=tmp_path)
    assert re.search(r"^  eval +to build", dry.stdout, re.M)


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["eval.sets=sets"], 2, ["checkpoint.path"]),
        (["checkpoint.path=MODEL"], 2, ["eval.sets"]),
        (["checkpoint.path=nowhere", "eval.sets=sets"], 3, ["checkpoint.path=nowhere"]),
        (["checkpoint.path=owner/nowhere", "eval.sets=sets"], 3, ["checkpoint.path=owner/nowhere"]),
        (["checkpoint.path=MODEL", "eval.sets=nowhere"], 3, ["eval.sets=nowhere"]),
        (["checkpoint.path=MODEL", "eval.sets=owner/nowhere"], 3, ["eval.sets=owner/nowhere", "hf download"]),
        (["checkpoint.path=MODEL", "eval.sets=empty-file"], 2, ["set hollow is empty"]),
        (["checkpoint.path=MODEL", "eval.sets=empty-folder"], 2, ["set hollow", "is empty"]),
        (["checkpoint.path=MODEL", "eval.sets=empty-rows"], 2, ["set hollow is empty"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "eval.split=test"], 2, ["no set of split test"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "eval.windw=9"], 2, ["eval.windw", "eval.window"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "eval.window=9", "eval.min_context=10"], 2, ["eval.min_context"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "eval.mode=plain"], 2, ["eval.mode=plain", "rolling, paper"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "eval.resamples=1"], 2, ["eval.resamples=1"]),
        (["checkpoint.path=MODEL", "eval.sets=sets", "scorer=vllm"], 2, ["scorer.kind=vllm"]),
    ],
)
def test_bad_input_is_one_line_that_names_key_or_set(arguments, code, parts, small_prior, tmp_path):
    write_sets(tmp_path / "sets", fine=TEXTS[:2])
    write_sets(tmp_path / "empty-file", fine=TEXTS[:2], hollow=[])
    write_sets(tmp_path / "empty-rows", fine=TEXTS[:2], hollow=[""])
    write_sets(tmp_path / "empty-folder", fine=TEXTS[:2])
    (tmp_path / "empty-folder" / "hollow" / "val").mkdir(parents=True)
    arguments = [argument.replace("MODEL", str(small_prior)) for argument in arguments]
    run = run_command("stage=eval", *arguments, cwd=tmp_path, expect=code, HF_HOME=str(tmp_path / "hub"))
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in run.stderr
    for part in parts:
        assert part in errors[0]
    assert not list((tmp_path / "artifacts" / "eval").glob("*/manifest.json"))


def test_a_hub_data_set_in_the_cache_is_read_from_there(small_prior, tmp_path):
    """The Hub's own cache layout, offline: what a download of allenai/paloma leaves behind."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "datasets--allenai--paloma"
    write_sets(repository / "snapshots" / commit, c4_en=TEXTS)
    run = run_command("stage=eval", "eval=paloma", f"checkpoint.path={small_prior}", f"eval.revision={commit}",
                      "out=results", cwd=tmp_path, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")  # fmt: skip
    assert "eval=paloma: not found: 4chan_meta_sep" in run.stderr
    manifest = json.loads((tmp_path / "results" / "manifest.json").read_text())
    assert manifest["revisions"] == {"allenai/paloma": commit} and manifest["counts"]["sets"] == 1


def test_perplexity_sets_in_their_own_layout(small_prior, tmp_path):
    """Real text: each source of the suite one row a metric, subdomains by their names, origins as units."""
    data = require_test_data() / "ppl_sets"
    sets = tmp_path / "sets"
    for pattern in (
        "c4_100_domains/val/*",
        "redpajama/val/*book*",
        "redpajama/val/*commoncrawl*",
        "wikitext_103/test/*",
    ):
        for file in data.glob(pattern):
            link = sets / file.relative_to(data)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    (sets / "README.md").write_text("no set")
    rows = rows_of(evaluate(tmp_path / "a", small_prior, sets, resamples=100))
    assert {name for name, _ in rows} == {
        "c4_100_domains",
        "redpajama",
        "mean of sets",
    }  # the third: another split
    assert all(math.isfinite(row["value"]) and row["stderr"] > 0 for (_, m), row in rows.items() if m == "nll")
    assert (rows["redpajama", "nll"]["unit"], rows["redpajama", "nll"]["units"]) == ("origin", 2)
    assert (rows["c4_100_domains", "nll"]["unit"], rows["c4_100_domains", "nll"]["units"]) == ("document", 10)


def test_the_piles_subdomains_have_their_names(small_prior, tmp_path):
    """Real text: a folder of one split whose rows name their subdomains, in the paper's mode."""
    sets = require_test_data() / "ppl_sets" / "pile"
    command = ["stage=eval", "eval=pile", f"checkpoint.path={small_prior}", f"eval.sets={sets}", "out=pile"]
    run = run_command(*command, "eval.mode=paper", cwd=tmp_path)
    found = {name for name, _ in rows_of(tmp_path / "pile")}
    assert {"DM Mathematics", "Wikipedia (en)", "Pile-CC"} < found and len(found) == 15
    assert "not found: ArXiv, BookCorpus2, Books3, EuroParl, Gutenberg (PG-19), PhilPapers, " in run.stderr
