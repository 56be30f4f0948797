"""The arms of continual pre-training and fine-tuning, from corpus to table in one command; edited generations."""

import csv
import json
from pathlib import Path

import pytest
from conftest import run_command, write_jsonl
from instruction_fixtures import alpaca_rows
from test_pretrain import compose
from test_studies import documents, manifest, sources

from toedit.stages import edit as edit_stage

TRAINING = ("recipe.sequence_length=48", "recipe.batch_sequences=4", "recipe.steps=4", "recipe.warmup_steps=1",
            "trainer.compile=false", "tokens.processes=1", "eval.resamples=0")  # fmt: skip
EDIT = ("score.min_p=0", "score.top_k=8", "+edit.p=0.3")
SEEDS = "experiment.seeds=[0,1]"


def table_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "table.csv").open() as file:
        return {row["setting"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def prior(small_prior) -> list[str]:
    return ["prior=local", f"prior.path='{small_prior}'"]


@pytest.fixture(scope="module")
def continued(tmp_path_factory, prior, corpus_file) -> Path:
    """The experiment at its smallest; the prior is the base, as at scale=tiny."""
    work = tmp_path_factory.mktemp("continual")
    general = [{"id": f"g{number}", "text": "A model of a matrix is a tensor. " * 8} for number in range(60)]
    run_command("experiment=paper/continual_biomed", *prior, f"mix.human.path='{corpus_file}'", "mix.human.kind=local",
                f"mix.synthetic.path='{write_jsonl(work / 'general.jsonl', general)}'", "mix.tokens=900", *TRAINING,
                *EDIT[:2], SEEDS, "out=done", cwd=work)  # fmt: skip
    return work


def test_the_arms_of_continual_pretraining_stand_in_one_table(continued):
    found = table_of(continued / "done")
    assert list(found) == ["base", "source", "edited", "as released", "random replacements"]
    columns = {key for key in found["base"] if key.endswith(".perplexity")}
    assert {"held_out_human.perplexity", "held_out_synthetic.perplexity"} <= columns
    base = {row["held_out_human.perplexity"] for row in found.values()}
    assert len(base) > 1  # training did something
    shown = (continued / "done" / "table.md").read_text()
    assert "published: MQP" in shown and "54.59" in shown and "edited minus source" in shown
    assert (continued / "done" / "figure.png").stat().st_size > 1000


def test_arms_differ_in_the_edit_of_the_domain_alone(continued):
    """The same documents in the same order; the general half is the same bytes in all of them."""
    experiment = manifest(continued / "done")["inputs"]
    texts = {}
    for arm in ("source", "edited", "random-replacements"):
        (role,) = [role for role in experiment if f".{arm}." in role and role.endswith("seed0")]
        checkpoint = sources(continued / "done" / experiment[role]["path"])["checkpoint"]
        assert set(manifest(checkpoint)["inputs"]) == {"tokens", "base"}
        mixture = sources(sources(checkpoint)["tokens"])["corpus"]
        texts[arm] = {document["id"]: document for document in documents(mixture)}
    assert list(texts["source"]) == list(texts["edited"]) == list(texts["random-replacements"])
    general = [name for name in texts["source"] if name.startswith("g")]
    assert general and all(texts["source"][name]["text"] == texts["edited"][name]["text"] for name in general)
    roles = [role for role in experiment if ".base." in role]
    assert len({experiment[role]["fingerprint"] for role in roles}) == 1  # a base has no seed


def test_the_arms_of_fine_tuning_stand_in_one_table(tmp_path, prior, corpus_file):
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows())
    given = ["corpus=local", f"corpus.path='{rows}'", "corpus.layout=alpaca", f"mix.human.path='{corpus_file}'"]
    run_command("experiment=paper/sft_instruct", *prior, *given, "mix.human.kind=local", *TRAINING, *EDIT[:2], SEEDS,
                "out=done", "sft.template=plain", cwd=tmp_path)  # fmt: skip
    found = table_of(tmp_path / "done")
    assert list(found) == ["base", "source", "edited", "as released", "random replacements"]
    assert found["source"]["held_out_human.perplexity"] != found["base"]["held_out_human.perplexity"]
    examples = sorted((tmp_path / "artifacts" / "examples").iterdir())
    assert len(examples) == len({json.loads((path / "manifest.json").read_text())["fingerprint"] for path in examples})
    shown = (tmp_path / "done" / "table.md").read_text()
    assert "published: PIQA" in shown and "80.25" in shown


# --- generations ------------------------------------------------------------------------------------------------------


def test_a_generation_is_an_edit_of_the_edited_text(tmp_path, prior, corpus_file):
    """By hand: edit, name the result as a corpus, edit it with the other generation's seed."""
    common = [*prior, "corpus=local", f"artifacts={tmp_path / 'artifacts'}", "score.min_p=0.3", "edit.p=0.3",
              "edit.temperature=2"]  # fmt: skip

    def edited(*overrides: str) -> Path:
        return edit_stage.plan(compose("stage=edit", *common, *overrides)).ensure()

    first = edited(f"corpus.path={corpus_file}")
    second = edited(f"corpus.path={corpus_file}", "edit.generation=2")
    by_hand = edited(f"corpus.path={first}", f"edit.seed={edit_stage._SEEDS_APART}")
    assert by_hand == second  # one artifact
    assert documents(first) != documents(second)
    assert [document["id"] for document in documents(first)] == [document["id"] for document in documents(second)]
    counts = [manifest(path)["counts"] for path in (first, second)]
    assert counts[0]["changed"] > 0 and counts[1]["changed"] > 0
    again = edited(f"corpus.path={corpus_file}", "edit.generation=1")
    assert again == first


def test_generations_are_an_experiment(tmp_path, prior, corpus_file):
    run_command("experiment=paper/generations", *prior, "corpus=local", f"corpus.path='{corpus_file}'",
                "experiment.seeds=[0]", "out=done", cwd=tmp_path)  # fmt: skip
    found = table_of(tmp_path / "done")
    assert list(found) == [f"{arm}, generation={number}" for arm in ("edited", "as released") for number in (1, 2, 3)]
    assert found["edited, generation=1"]["eligible"] == pytest.approx(found["as released, generation=1"]["eligible"])
    assert "584103" in (tmp_path / "done" / "table.md").read_text()
