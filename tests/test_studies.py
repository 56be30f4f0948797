"""Whole pre-training studies at the smallest size, in one command: from the mixture to table and figure."""

import csv
import json
from pathlib import Path

import pytest
from conftest import run_command, write_jsonl
from selection_fixtures import classifier_folder

from toedit.documents import read_documents, shard_paths

WORDS = ("model", "matrix", "gradient", "token", "entropy", "sample", "tensor", "kernel", "vector", "prior")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, corpus_file, small_prior) -> list[str]:
    """Two corpora of different words, whose documents belong to works; a set; a training of seconds."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for number in range(150):
        words = [WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(60)]
        rows.append({"id": f"s{number}", "text": " ".join(words), "metadata": {"work": f"book {number // 5}"}})
    synthetic = write_jsonl(folder / "synthetic.jsonl", rows)
    (folder / "sets").mkdir()
    for name, part in (("first", rows[:8]), ("second", rows[8:20])):
        write_jsonl(folder / "sets" / f"{name}.jsonl", part)
    return [
        "prior=local", f"prior.path='{small_prior}'", f"mix.human.path='{corpus_file}'", "mix.human.kind=local",
        f"mix.synthetic.path='{synthetic}'", "mix.synthetic.split_key=metadata.work", "mix.tokens=900",
        f"eval.sets='{folder / 'sets'}'", "eval.resamples=0", "model.settings.n_positions=32",
        "recipe.sequence_length=16", "recipe.batch_sequences=8", "recipe.steps=6", "recipe.warmup_steps=2",
        "experiment.seeds=[0,1]", "tokens.processes=1", "trainer.compile=false",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, inputs):
    work = tmp_path_factory.mktemp("mix-ratio")
    shares = "experiment.grid=['mix.synthetic_ratio=0,0.5,1']"
    return work, run_command("experiment=paper/mix_ratio", *inputs, shares, "out=done", "experiment.jobs=2", cwd=work)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def sources(folder: Path) -> dict[str, Path]:
    return {role: folder / source["path"] for role, source in manifest(folder)["inputs"].items()}


def mixture_of(evaluation: Path) -> Path:
    return sources(sources(sources(evaluation)["checkpoint"])["tokens"])["corpus"]


def documents(corpus: Path) -> list[dict]:
    return [document for shard in shard_paths(corpus) for document in read_documents(shard)]


def test_the_study_shows_every_set_and_what_was_held_out(finished):
    work, run = finished
    with (work / "done" / "table.csv").open() as file:
        wide = {row["setting"]: row for row in csv.DictReader(file)}
    assert list(wide) == ["synthetic_ratio=0", "synthetic_ratio=0.5", "synthetic_ratio=1"]
    columns = [key for key in wide["synthetic_ratio=0"] if key.endswith(".perplexity")]
    names = ("first", "held_out_human", "held_out_synthetic", "mean of sets", "second")
    assert sorted(columns) == [f"{name}.perplexity" for name in names]
    shown = (work / "done" / "table.md").read_text()
    assert "synthetic_ratio=1 minus synthetic_ratio=0" in shown and "published: c4-en" in shown and "106.55" in shown
    assert "synthetic_ratio=0.5" in run.stdout and (work / "done" / "figure.svg").read_text().count("published") >= 1
    # Synthetic text is easier to predict the more of it was read, and human text the harder.
    for side, rises in (("human", True), ("synthetic", False)):
        perplexities = [float(row[f"held_out_{side}.perplexity"]) for row in wide.values()]
        assert (perplexities[0] < perplexities[-1]) == rises, side


def test_the_points_are_paired_and_the_mean_is_of_the_sets_alone(finished):
    folder = finished[0] / "done"
    evaluations = sources(folder)
    assert len(evaluations) == 6
    checkpoints = {role: sources(path)["checkpoint"] for role, path in evaluations.items()}
    seeds = {role: manifest(path)["identity"]["recipe"]["seed"] for role, path in checkpoints.items()}
    assert sorted(seeds.values()) == [0, 0, 0, 1, 1, 1] and len(set(checkpoints.values())) == 6
    for path in checkpoints.values():
        counts = manifest(sources(path)["tokens"])["counts"]
        assert counts["tokens"] - counts["documents"] == pytest.approx(900, abs=20)  # cut text tokenises anew
    for path in evaluations.values():
        rows = json.loads((path / "results.json").read_text())
        by_set = {row["set"]: row["value"] for row in rows if row["metric"] == "nll"}
        assert by_set["mean of sets"] == pytest.approx((by_set["first"] + by_set["second"]) / 2)
        held_out = sources(path)["held_out_synthetic"]
        assert manifest(held_out)["identity"]["split"][0] == "test"


def test_works_are_not_on_both_sides(finished):
    evaluation = next(iter(sources(finished[0] / "done").values()))
    held_out = sources(evaluation)["held_out_synthetic"]
    mixtures = [mixture_of(path) for path in sources(finished[0] / "done").values()]

    def works(folder: Path) -> set[str]:
        return {document["metadata"]["work"] for document in documents(folder) if "work" in document["metadata"]}

    trained = set().union(*map(works, mixtures))
    assert trained and works(held_out) and not trained & works(held_out)


def test_the_same_study_again_computes_nothing(finished, inputs):
    shares = "experiment.grid=['mix.synthetic_ratio=0,0.5,1']"
    run = run_command("experiment=paper/mix_ratio", *inputs, shares, "out=done", cwd=finished[0])
    assert run.stdout.strip().splitlines()[-1] == "already there: done"


def test_edited_arms_read_the_same_documents(finished, inputs):
    work, _ = finished
    few = [
        "experiment.seeds=[0]",
        "edit.p=0.5",
        "edit.temperature=4",
        "score.min_p=0.5",
        "mix.human.split=train",
        "eval.held_out=[]",
    ]
    kept = [override for override in inputs if not override.startswith("experiment.seeds")]
    run = run_command("experiment=paper/mix_edited", *kept, *few, "out=edited", cwd=work)
    assert "random replacements minus source" in run.stdout
    names = manifest(work / "edited")["identity"]["points"]
    texts: dict[str, dict[str, str]] = {}
    for role, path in sources(work / "edited").items():
        texts[names[role][0]] = {document["id"]: document["text"] for document in documents(mixture_of(path))}
    first = list(texts["source"])
    for arm, found in texts.items():
        same = [key for key in first if key in found]
        assert len(same) >= len(first) - 2, arm  # the last of a side is cut by tokens
        changed = sum(found[key] != texts["source"][key] for key in same)
        assert (changed == 0) == (arm == "source"), arm


def test_selections_are_trained_on_beside_both_corpora(tmp_path, inputs):
    """Every arm reads as many tokens, of its own documents; the classifier's arms run where there is a classifier."""
    kept = [override for override in inputs if not override.startswith(("experiment.seeds", "model.settings"))]
    own = ["experiment.seeds=[0]", "model.settings.max_position_embeddings=32", "recipe.steps=2",
           "recipe.warmup_steps=1", "select.density.rows=20", "mix.tokens=3000", "score.window=32",
           "experiment.hub_arms=[]", f"select.classifier.path='{classifier_folder(tmp_path / 'judge')}'"]  # fmt: skip
    run = run_command("experiment=paper/selection", *kept, *own, "out=done", cwd=tmp_path)
    names = manifest(tmp_path / "done")["identity"]["points"]
    texts: dict[str, dict[str, str]] = {}
    for role, path in sources(tmp_path / "done").items():
        mixture = mixture_of(path)
        texts[names[role][0]] = {document["id"].split("--")[0]: document["text"] for document in documents(mixture)}
        assert manifest(mixture)["counts"]["tokens"] == 3000
    methods = ("random", "DSIR", "classifier", "perplexity", "density")
    assert list(texts) == ["human", "synthetic", *(f"{method} 1/{part}" for method in methods for part in (3, 30))]
    assert not set(texts["human"]) & set(texts["synthetic"])
    for method in methods:
        assert len(texts[f"{method} 1/30"]) < len(texts[f"{method} 1/3"]) <= 0.35 * 150
        assert all(name.startswith("s") for name in texts[f"{method} 1/3"])
    shown = (tmp_path / "done" / "table.md").read_text()
    assert "738.36" in shown and "perplexity 1/30 minus synthetic" in shown and "Left out" not in run.stdout


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["eval.held_out=[human]", "mix.human.split=null"], ["mix.human.split", "eval.held_out"]),
        (["eval.held_out=[humans]"], ["eval.held_out=humans", "human, synthetic"]),
        (["eval.held_out=[human]", "eval.held_out_split=dev"], ["eval.held_out_split=dev"]),
        (["checkpoint.stage=pretrian", "eval.sets=x"], ["checkpoint.stage=pretrian", "pretrain"]),
        (["checkpoint.stage=pretrain", "checkpoint.path=x", "eval.sets=x"], ["checkpoint.path=x", "checkpoint.stage"]),
    ],
)
def test_bad_settings_are_one_line(overrides, parts, tmp_path):
    run = run_command("stage=eval", *overrides, cwd=tmp_path, expect=2)
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert all(part in line for part in parts) and "Traceback" not in run.stderr
