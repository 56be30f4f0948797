"""Synthetic corpora from the real vLLM: the model's own distribution, the same documents after an interruption."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import files_of, run_command
from test_synthesizing import documents_of, synthesized

import toedit.synthesizing
from toedit.config import SynthesisConfig
from toedit.errors import BadConfiguration
from toedit.sampling import Sampler, load_sampler
from toedit.tokenizing import load_tokenizer, plain_tokenizer

VLLM = SynthesisConfig(
    engine="vllm", tokens=600, max_new_tokens=12, temperature=1.3, top_p=0.9, batch_size=16, shard_documents=32
)


@pytest.fixture(scope="module")
def padded_prior(small_prior, tmp_path_factory) -> Path:
    """The prior with rows that no token has, as embeddings are filled up; unmasked they would take much of the mass."""
    folder = tmp_path_factory.mktemp("padded") / "small"
    shutil.copytree(small_prior, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(small_prior)
    embedding_VH = model.get_input_embeddings().weight.detach().clone()
    rows = len(embedding_VH)
    model.resize_token_embeddings(2 * rows, mean_resizing=False)
    model.get_input_embeddings().weight.data[rows:] = 1.1 * embedding_VH
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sampler(vllm_python, padded_prior) -> Sampler:
    tokenizer = load_tokenizer(padded_prior)
    return load_sampler(padded_prior, VLLM, [tokenizer.eos_id], tokenizer.vocabulary_size, longest=40)


def prompts_of(folder: Path, *texts: str) -> list[list[int]]:
    end, tokenizer = load_tokenizer(folder).eos_id, plain_tokenizer((folder / "tokenizer.json").read_text())
    return [[end, *tokenizer.encode(text, add_special_tokens=False).ids] for text in texts]


def test_draws_follow_the_distribution_of_transformers(sampler, small_prior, padded_prior):
    """First tokens of many documents against the softmax of the plain model, heated and cut to its nucleus."""
    documents = 600
    (prompt,) = prompts_of(small_prior, "The cat sat quietly")
    expected_V = nucleus(small_prior, prompt)
    assert 2 <= (expected_V > 0).sum() < len(expected_V) / 2, "choose a prompt after which there is something to draw"
    assert nucleus(padded_prior, prompt)[len(expected_V) :].sum() > 0.2, "choose a prompt after which fillers matter"
    drawn = sampler.sample([prompt] * documents, [f"doc/{number}" for number in range(documents)])
    assert max(map(max, drawn)) < len(expected_V)
    frequency_V = np.bincount([new[0] for new in drawn], minlength=len(expected_V)) / documents
    assert frequency_V[expected_V == 0].sum() == 0
    assert (np.abs(frequency_V - expected_V) <= 4 * np.sqrt(expected_V * (1 - expected_V) / documents)).all()


def nucleus(model: Path, prompt: list[int]) -> np.ndarray:
    with torch.inference_mode():
        logits = transformers.AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits
    logit_1V = logits[:, -1].double() / VLLM.temperature
    return transformers.TopPLogitsWarper(VLLM.top_p)(None, logit_1V).softmax(-1)[0].numpy()


def test_a_document_is_sampled_the_same_whatever_is_sampled_beside_it(sampler, small_prior):
    prompts = prompts_of(small_prior, "", "The cat sat", "Zoë 🙂 sang an old song near")
    together = sampler.sample(prompts, ["a", "b", "c"])
    alone = [sampler.sample([prompt], [name])[0] for prompt, name in zip(prompts, "abc", strict=True)]
    assert together == alone == sampler.sample(prompts[::-1], ["c", "b", "a"])[::-1]
    assert sampler.sample(prompts, ["a", "b", "d"])[2] != together[2]


def test_documents_end_or_are_cut(sampler, small_prior):
    """More documents than vLLM has places: a queue."""
    story = "Nobody waited for the bus in the garden, as the story"
    prompts = prompts_of(small_prior, story, f"{story} goes.") * 50
    drawn = sampler.sample(prompts, [f"end/{number}" for number in range(len(prompts))])
    (end,) = sampler.end_ids
    ended, cut = [new for new in drawn if new[-1] == end], [new for new in drawn if new[-1] != end]
    assert len(ended) > 5 and len(cut) > 5
    assert all(end not in new[:-1] for new in drawn)
    assert {len(new) for new in cut} == {VLLM.max_new_tokens} and len({len(new) for new in ended}) > 1


def test_a_killed_run_goes_on_to_the_same_bytes(sampler, padded_prior, tmp_path, monkeypatch):
    """What one engine wrote, after other work, and what another one does that begins with the second shard."""
    settings = dataclasses.asdict(VLLM)
    write, begun, deadly = toedit.synthesizing.Writer.write_shard, [], set()

    def write_or_die(self, path, shard, *rest):
        begun.append(shard)
        if shard in deadly:
            raise KeyboardInterrupt
        return write(self, path, shard, *rest)

    monkeypatch.setattr(toedit.synthesizing.Writer, "write_shard", write_or_die)
    with monkeypatch.context() as running:  # an engine takes long to start, and this one runs
        running.setattr(toedit.synthesizing, "load_sampler", lambda *_: sampler)
        whole = synthesized(padded_prior, tmp_path, "whole", **settings)
        deadly.add(1)
        with pytest.raises(KeyboardInterrupt):
            synthesized(padded_prior, tmp_path, "killed", **settings)
    deadly.clear()
    killed = synthesized(padded_prior, tmp_path, "killed", **settings)
    assert begun == [0, 1, 0, 1, 1]
    assert files_of(killed.path, "documents") == files_of(whole.path, "documents")
    assert killed.manifest()["counts"] == whole.manifest()["counts"]
    assert killed.manifest()["counts"]["tokens"] >= VLLM.tokens


def test_the_command_gives_the_transformers_engines_text_where_the_draw_is_cold(
    vllm_python, small_prior, corpus_file, tmp_path
):
    cold = {"prompt_tokens": 6, "keep_prompt": True, "temperature": 0.01, "tokens": 600, "max_new_tokens": 10}
    theirs = synthesized(small_prior, tmp_path, "theirs", corpus_file, **cold)
    overrides = [f"synthesis.{key}={value}" for key, value in cold.items()]
    run_command(
        "stage=synthesize", "synthesis.engine=vllm", "synthesis.batch_size=16", "synthesis.shard_documents=16",
        "corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}",
        "prior.name=small", "out=ours", *overrides, cwd=tmp_path,
    )  # fmt: skip
    ours, counts = documents_of(tmp_path / "ours"), theirs.manifest()["counts"]
    equal = [a["text"] == b["text"] for a, b in zip(ours, documents_of(theirs.path), strict=False)]
    # Two continuations may be equally likely but for a hair, and then the draw decides.
    assert len(equal) > 20 and np.mean(equal) > 0.8
    assert all(document["text"].startswith(document["metadata"]["synthesis"]["prompt"]) for document in ours)
    manifest = json.loads((tmp_path / "ours" / "manifest.json").read_text())
    assert abs(manifest["counts"]["tokens"] - counts["tokens"]) <= 16 and manifest["counts"]["tokens"] >= 600
    assert manifest["identity"]["engine"] == "vllm" and "python" not in manifest["identity"]
    assert manifest["fingerprint"] != theirs.fingerprint
    engine = manifest["runtime"]["engine"]
    assert engine["vllm"].startswith("0.32") and "torch" in engine
    assert set(theirs.manifest()["runtime"]["engine"]) == {"torch", "transformers"}


# --- without vLLM -----------------------------------------------------------------------------------------------------


def test_a_missing_environment_says_which_version_serves_and_how_to_make_it(small_prior, tmp_path):
    run = run_command(
        "stage=synthesize", "synthesis.engine=vllm", "synthesis.max_new_tokens=20", "prior=local",
        f"prior.path={small_prior}", cwd=tmp_path, expect=2, TOEDIT_VLLM_VENV=str(tmp_path / "nowhere"),
    )  # fmt: skip
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("error: synthesis.engine=vllm: ") and "0.32" in line
    assert "bash scripts/environment_vllm.sh" in line and line.endswith("or name one with synthesis.python")
    assert "Traceback" not in run.stderr


def test_a_python_without_vllm_is_one_line(small_prior):
    with pytest.raises(BadConfiguration, match=r"^synthesis\.engine=vllm: vllm 0\.32 serves, this Python has none; "):
        load_sampler(small_prior, dataclasses.replace(VLLM, python=sys.executable), [0], 400, 40)


@pytest.mark.parametrize(("key", "value"), [("device", "cuda:1"), ("temperature", 0.005)])
def test_what_vllm_cannot_do_is_refused(key, value):
    with pytest.raises(BadConfiguration, match=rf"synthesis\.{key}={value}.*vLLM"):
        SynthesisConfig(engine="vllm", **{key: value})
    assert getattr(SynthesisConfig(**{key: value}), key) == value
