"""Synthetic corpora: the model's own distribution, the same documents however they are batched or interrupted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import files_of, run_command
from tokenizers import Tokenizer

import toedit.synthesizing
from toedit.config import CorpusConfig, PriorConfig, SynthesisConfig
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration
from toedit.priors import plan_prior
from toedit.synthesizing import draw_prompts, plan_synthesis
from toedit.tokenizing import load_tokenizer, plain_tokenizer
from toedit.transformers_sampling import DrawByAddress, TransformersSampler
from toedit.uniforms import document_keys

SHORT = {"max_new_tokens": 24, "tokens": 600, "batch_size": 16, "shard_documents": 16}


def synthesized(small_prior: Path, root: Path, out: str, corpus_file: Path | None = None, **changes: object):
    settings = SynthesisConfig(**{**SHORT, **changes})
    model = plan_prior(PriorConfig(kind="local", path=str(small_prior), name="small"), root, 0)
    corpus = plan_corpus(CorpusConfig(kind="local", path=str(corpus_file)), root) if corpus_file else None
    artifact = plan_synthesis(model, corpus, settings, root, root / out)
    artifact.ensure()
    return artifact


def documents_of(folder: Path) -> list[dict]:
    return [document for path in shard_paths(folder) for document in read_documents(path)]


def test_draws_follow_the_distribution():
    """Frequencies of many documents' draws against the softmax; a token without mass is never drawn."""
    logit_V = torch.tensor([0.0, 1.0, -torch.inf, 2.0, -3.0])
    documents = 20_000
    draw = DrawByAddress(document_keys(0, [str(number) for number in range(documents)]), 3)
    chosen_B = draw(torch.zeros(documents, 3, dtype=torch.long), logit_V.expand(documents, 5)).argmax(-1)
    frequency_V = np.bincount(chosen_B.numpy(), minlength=5) / documents
    expected_V = logit_V.softmax(-1).numpy()
    assert frequency_V[2] == 0
    assert (np.abs(frequency_V - expected_V) <= 4 * np.sqrt(expected_V * (1 - expected_V) / documents)).all()
    # The next position draws anew.
    later_B = draw(torch.zeros(documents, 4, dtype=torch.long), logit_V.expand(documents, 5)).argmax(-1)
    assert 0.3 < (later_B == chosen_B).float().mean() < 0.8


def test_a_document_is_sampled_the_same_whatever_is_sampled_beside_it(small_prior):
    """Prompts of different lengths are filled up to the left: padding must change nothing."""
    end = load_tokenizer(small_prior).eos_id
    sampler = TransformersSampler(small_prior, SynthesisConfig(max_new_tokens=16, top_p=0.9), [end], 400)
    tokenizer = plain_tokenizer((small_prior / "tokenizer.json").read_text())
    prompts = [[end], [end, *tokenizer.encode("The cat sat").ids], [end, *tokenizer.encode("Zoë 🙂 sang").ids]]
    together = sampler.sample(prompts, ["a", "b", "c"])
    alone = [sampler.sample([prompt], [name])[0] for prompt, name in zip(prompts, "abc", strict=True)]
    assert together == alone
    assert sampler.sample(prompts, ["a", "b", "d"])[2] != together[2]


def test_a_cold_draw_is_greedy_search(small_prior):
    end = load_tokenizer(small_prior).eos_id
    model = transformers.AutoModelForCausalLM.from_pretrained(small_prior)
    greedy = model.generate(torch.tensor([[end]]), do_sample=False, max_new_tokens=16, eos_token_id=end, pad_token_id=0)
    cold = TransformersSampler(small_prior, SynthesisConfig(max_new_tokens=16, temperature=1e-4), [end], 400)
    assert cold.sample([[end]], ["x"])[0] == greedy[0, 1:].tolist()


def test_the_corpus_has_the_tokens_that_were_asked_for(small_prior, tmp_path):
    artifact = synthesized(small_prior, tmp_path, "out", temperature=0.9)
    documents, counts = documents_of(artifact.path), artifact.manifest()["counts"]
    reference = Tokenizer.from_file(str(small_prior / "tokenizer.json"))
    tokens = [len(reference.encode(document["text"]).ids) for document in documents]
    assert counts["tokens"] == sum(tokens) >= 600 > sum(tokens[:-1])
    assert counts["documents_out"] == len(documents) == counts["documents_in"] - counts["rejected"]
    assert len((artifact.path / "rejected.jsonl").read_text().splitlines()) == counts["rejected"]
    assert len({document["id"] for document in documents}) == len(documents) > 20
    assert len({document["text"] for document in documents}) > len(documents) / 2
    for document in documents:
        assert document["metadata"]["synthesis"] == {"model": "small", "temperature": 0.9, "top_p": 1.0}
        assert document["text"] and "<|" not in document["text"]


def test_batches_change_no_document_and_another_seed_changes_them(small_prior, tmp_path):
    texts = [
        [document["text"] for document in documents_of(synthesized(small_prior, tmp_path, f"out{n}", **changes).path)]
        for n, changes in enumerate([{}, {"batch_size": 5}, {"seed": 1}])
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_killed_run_goes_on_to_the_same_bytes(small_prior, tmp_path, monkeypatch):
    whole = synthesized(small_prior, tmp_path, "whole")
    written = toedit.synthesizing.Writer.write_shard

    def killed_at_the_second(self, path, shard, *rest):
        if shard == 1:
            raise KeyboardInterrupt
        return written(self, path, shard, *rest)

    monkeypatch.setattr(toedit.synthesizing.Writer, "write_shard", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        synthesized(small_prior, tmp_path, "killed")
    sampled = []
    monkeypatch.setattr(
        toedit.synthesizing.Writer,
        "write_shard",
        lambda self, path, shard, *rest: sampled.append(shard) or written(self, path, shard, *rest),
    )
    killed = synthesized(small_prior, tmp_path, "killed")
    assert sampled and 0 not in sampled
    assert files_of(killed.path, "documents") == files_of(whole.path, "documents")
    assert killed.manifest()["counts"] == whole.manifest()["counts"]


def test_prompts_are_beginnings_of_documents(small_prior, corpus_file, tmp_path):
    originals = {row["id"]: row["text"] for row in map(json.loads, corpus_file.read_text().splitlines())}
    for keep in (False, True):
        artifact = synthesized(small_prior, tmp_path, f"{keep}", corpus_file, prompt_tokens=6, keep_prompt=keep)
        facts = [document["metadata"]["synthesis"] for document in documents_of(artifact.path)]
        assert len({fact["prompt_document"] for fact in facts}) > 10
        for document, fact in zip(documents_of(artifact.path), facts, strict=True):
            assert originals[fact["prompt_document"]].startswith(fact["prompt"]) and fact["prompt"]
            assert document["text"].startswith(fact["prompt"]) is keep
    assert set(artifact.manifest()["inputs"]) == {"model", "corpus"}


def test_prompts_come_in_another_order_with_another_seed_and_are_used_again(small_prior, corpus_file, tmp_path):
    corpus = plan_corpus(CorpusConfig(kind="local", path=str(corpus_file)), tmp_path).ensure()
    tokenizer = plain_tokenizer((small_prior / "tokenizer.json").read_text())
    drawn = [
        [prompt.document for prompt in draw_prompts(corpus, tokenizer, SynthesisConfig(prompt_tokens=4, seed=seed))]
        for seed in (0, 1)
    ]
    assert sorted(drawn[0]) == sorted(drawn[1]) == sorted(set(drawn[0])) and drawn[0] != drawn[1]
    assert len(drawn[0]) == 60
    more = synthesized(small_prior, tmp_path, "more", corpus_file, prompt_tokens=4, tokens=1600)
    used = [document["metadata"]["synthesis"]["prompt_document"] for document in documents_of(more.path)]
    assert len(used) > 60 and len(set(used)) <= 60
    assert len({document["text"] for document in documents_of(more.path)}) > 60


def test_texts_longer_than_the_models_context_are_refused(small_prior, tmp_path):
    with pytest.raises(BadConfiguration, match=r"synthesis\.max_new_tokens=48.*takes 48"):
        synthesized(small_prior, tmp_path, "long", max_new_tokens=48)


def test_the_command_and_a_mixture_with_it(small_prior, corpus_file, tmp_path):
    own = ["prior=local", f"prior.path={small_prior}", "synthesis.max_new_tokens=30", "synthesis.tokens=500"]
    run = run_command("stage=synthesize", *own, cwd=tmp_path)
    assert " tokens in " in run.stdout and "ended by themselves" in run.stdout
    mixture = ["stage=mix", f"mix.human.path={corpus_file}", "mix.tokens=1000", "mix.synthetic_ratio=0.5"]
    run = run_command(*mixture, *own, "out=mixed", cwd=tmp_path)
    documents = documents_of(tmp_path / "mixed")
    assert {document["metadata"]["mix"]["side"] for document in documents} == {"human", "synthetic"}
    assert len(list((tmp_path / "artifacts" / "corpus").glob("synthetic.*"))) == 1  # the one that was there
    run = run_command("stage=synthesize", "synthesis.model=no/such/model", cwd=tmp_path, expect=3)
    assert "error: synthesis.model=no/such/model: does not exist" in run.stderr
    run = run_command("stage=synthesize", *own, "synthesis.top_p=0", cwd=tmp_path, expect=2)
    assert "synthesis.top_p=0" in run.stderr
