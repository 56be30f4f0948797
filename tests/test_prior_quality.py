"""The prior itself: calibration, the eligible set under two priors, strips. Against loops, then with real models."""

import csv
import json
import math
from collections import defaultdict

import numpy as np
import pytest
from artifact_fixtures import load_tokenizer
from conftest import repetitive_documents, run_command, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from task_fixtures import save_model

from analysis import stage
from analysis.prior_quality import calibration, eligible_overlap
from analysis.prior_quality.calibration_counts import TAIL_EDGES, Layout, count
from analysis.prior_quality.eligible_overlap import add_overlap, shares
from analysis.prior_quality.probability_strip import shown_bytes
from analysis.prior_quality.scored_corpora import Works, estimated, resampled
from toedit.artifacts import Artifact
from toedit.config import (
    AnalysisConfig,
    ArtifactConfig,
    Config,
    CorpusConfig,
    PriorConfig,
    PriorQualityConfig,
    ScoreConfig,
    StripConfig,
)
from toedit.console import Progress
from toedit.documents import ShardWriter
from toedit.errors import BadConfiguration, UnusableInput
from toedit.scores import ShardScores, SpannedLogprobs, read_scores, write_scores
from toedit.workspace import Result

# --- calibration ------------------------------------------------------------------------------------------------------


def stated_scores(generator, ids, tokens, candidates=4, too_sure=1.0):
    """Scores with candidates everywhere; tokens are drawn by what is stated, sharpened where the prior is too sure."""
    weight_NK = generator.exponential(size=(tokens * len(ids), candidates)) ** 4
    true_NK = -np.sort(-weight_NK / weight_NK.sum(1, keepdims=True), axis=1)
    stated_NK = true_NK**too_sure / (true_NK**too_sure).sum(1, keepdims=True)
    chosen_N = (np.cumsum(true_NK, axis=1) < generator.random(len(true_NK))[:, None]).sum(1).clip(max=candidates - 1)
    candidate_id_NK = np.argsort(generator.random((len(true_NK), 50)), axis=1)[:, :candidates]
    offset_D1 = np.arange(len(ids) + 1) * tokens
    place = np.arange(len(true_NK))
    start_T = place % tokens * 3
    return ShardScores(
        ids,
        offset_D1,
        candidate_id_NK[place, chosen_N].astype(np.int32),
        np.stack([start_T, start_T + 3], axis=1).astype(np.int32),
        np.log(stated_NK[place, chosen_N]).astype(np.float32),
        offset_D1,
        (place % tokens).astype(np.int32),
        candidate_id_NK.astype(np.int32),
        np.log(stated_NK).astype(np.float32),
    )


def made(root, shards, origins=None):
    """`(corpus, scores)` folders that hold the scores given, shard by shard."""

    def build_corpus(workspace):
        for number, scores in enumerate(shards):
            name = f"{number:05d}"
            with workspace.shard(name, f"documents/{name}.jsonl.zst") as ((path,), _), ShardWriter(path) as writer:
                for own in scores.ids:
                    metadata = {"origin": origins[own]} if origins else {}
                    writer.write({"id": own, "text": "abc", "source": "made", "metadata": metadata})
        return Result()

    def build_scores(workspace):
        for number, scores in enumerate(shards):
            with workspace.shard(f"{number:05d}", f"scores/{number:05d}.parquet") as ((path,), _):
                write_scores(path, scores)
        return Result()

    corpus = Artifact("corpus", "made", {"n": str(root)}, root, build=build_corpus)
    scores = Artifact("scores", "made", {}, root, {"corpus": corpus}, build=build_scores)
    scores.ensure()
    return corpus.path, scores.path


def measured(root, shards, quality, origins=None):
    corpus, scores = made(root, shards, origins)
    works = Works(corpus, ["metadata.origin"])
    with Progress("test", None) as progress:
        sum_GS = count(scores, corpus, works, quality, progress)
    layout = Layout(quality)
    return sum_GS, layout, works


def test_every_number_is_what_a_loop_counts(tmp_path):
    generator, quality = np.random.default_rng(0), PriorQualityConfig([0.3, 0.9], [1, 3], 7)
    shards = [stated_scores(generator, [f"{n}a", f"{n}b", f"{n}c"], 40) for n in range(2)]
    origins = {own: own[1] for scores in shards for own in scores.ids}  # works reach over shards
    sum_GS, layout, works = measured(tmp_path, shards, quality, origins)
    assert sum_GS.shape == (3, layout.columns) and works.units == 3
    tally = defaultdict(float)
    for scores in shards:
        for n, token in enumerate(scores.token_id_T):
            stated_K = np.exp(scores.candidate_logprob_NK[n].astype(float))
            is_right_K = scores.candidate_id_NK[n] == token
            tally["nll"] -= float(scores.logprob_T[n])
            for rank in quality.ranks:
                tally[f"within.{rank}"] += is_right_K[:rank].any()
                tally[f"mass.{rank}"] += stated_K[:rank].sum()
            for p in quality.thresholds:
                tally[f"eligible.{p}"] += scores.logprob_T[n] >= math.log(p)
                for q, right in zip(stated_K, is_right_K, strict=True):
                    if q >= p:
                        tally[f"n.{p}"], tally[f"q.{p}"] = tally[f"n.{p}"] + 1, tally[f"q.{p}"] + q
                        tally[f"right.{p}"] += right
            for number, (q, right) in enumerate(zip(stated_K, is_right_K, strict=True)):
                cell = min(int(q * 7), 6)
                tally[f"bins.{cell}"] += right - q
                tally[f"top.{cell}"] += (right - q) * (number == 0)
            if 1 - stated_K[0] <= 0.5:
                cell = np.searchsorted(TAIL_EDGES, 1 - stated_K[0], side="right") - 1
                tally[f"tail.{min(cell, len(TAIL_EDGES) - 2)}"] += is_right_K[0]
    found = {name: value[0] for name, value in calibration.statistic(sum_GS.sum(0)[None], layout).items()}
    tokens = 240
    assert found["perplexity"] == pytest.approx(math.exp(tally["nll"] / tokens))
    assert found["bits_per_byte"] == pytest.approx(tally["nll"] / math.log(2) / (3 * tokens))
    for key in ("within.1", "within.3", "mass.1", "mass.3", "eligible.0.3", "eligible.0.9"):
        assert found[key] == pytest.approx(tally[key] / tokens), key
    for p in (0.3, 0.9):
        assert found[f"seen.{p}"] == pytest.approx(tally[f"right.{p}"] / tally[f"n.{p}"])
        assert found[f"gap.{p}"] == pytest.approx((tally[f"right.{p}"] - tally[f"q.{p}"]) / tally[f"n.{p}"])
    for diagram, statements in (("bins", 4 * tokens), ("top", tokens)):
        error = sum(abs(tally[f"{diagram}.{cell}"]) for cell in range(7)) / statements
        assert found[f"calibration_error_{'all' if diagram == 'bins' else 'top'}"] == pytest.approx(error)
    right_B = layout.split(sum_GS)["tail"].sum(0)[:, 2]
    assert right_B.tolist() == [tally[f"tail.{cell}"] for cell in range(len(TAIL_EDGES) - 1)]


def test_a_prior_that_keeps_its_word_is_found_calibrated_and_one_that_is_too_sure_is_not(tmp_path):
    generator, quality = np.random.default_rng(1), PriorQualityConfig([0.9], [1], 10)
    analysis = AnalysisConfig(prior_quality=quality, resamples=199)
    inside, ids = 0, [f"{n}" for n in range(40)]
    for trial in range(20):
        counted = measured(tmp_path / str(trial), [stated_scores(generator, ids, 60)], quality)
        summary = calibration.summarize([(counted[0], counted[2])], ["made"], counted[1], analysis)
        gap = summary["corpora"][0]["measures"]["gap.0.9"]
        inside += gap["low"] <= 0 <= gap["high"]
    assert inside >= 16  # 19 are expected
    counted = measured(tmp_path / "sure", [stated_scores(generator, ids, 60, too_sure=3.0)], quality)
    summary = calibration.summarize([(counted[0], counted[2])], ["made"], counted[1], analysis)
    measures = summary["corpora"][0]["measures"]
    assert measures["gap.0.9"]["high"] < 0 and measures["calibration_error_top"]["low"] > 0.02
    assert measures["stated.0.9"]["value"] > 0.9 > measures["seen.0.9"]["value"]


def test_slices_change_nothing_and_missing_candidates_are_refused(tmp_path, monkeypatch):
    generator, quality = np.random.default_rng(2), PriorQualityConfig([0.9], [1], 10)
    shard = stated_scores(generator, ["a", "b"], 50)
    whole, _, _ = measured(tmp_path / "whole", [shard], quality)
    monkeypatch.setattr("analysis.prior_quality.calibration_counts._SLICE", 7)
    sliced, _, _ = measured(tmp_path / "sliced", [shard], quality)
    assert np.allclose(whole, sliced)
    fewer = {
        key: getattr(shard, key)[:99] for key in ("candidate_position_N", "candidate_id_NK", "candidate_logprob_NK")
    }
    few = ShardScores(**{**{key: vars(shard)[key] for key in ShardScores.__dataclass_fields__}, **fewer,
                         "candidate_offset_D1": np.array([0, 50, 99])})  # fmt: skip
    with pytest.raises(UnusableInput, match=r"of 99 of 100 scored tokens.*score\.min_p=0"):
        measured(tmp_path / "few", [few], quality)


def test_intervals_hold_what_they_should():
    assert estimated(math.nan, None) is None and estimated(0.5, None).low is None
    assert estimated(0.0, np.zeros(99)).low is None  # nothing was ever seen
    low_high = estimated(1.0, np.ones(99), share_units=20)
    assert 0.8 < low_high.low < 1 == low_high.high
    generator = np.random.default_rng(0)
    assert resampled(np.ones((1, 3)), lambda sum_RS: {"x": sum_RS[:, 0]}, 99, generator) == {}
    value_R = resampled(np.ones((5, 1)), lambda sum_RS: {"x": sum_RS[:, 0]}, 250, generator)["x"]
    assert value_R.tolist() == [5.0] * 250


# --- the eligible set under two priors --------------------------------------------------------------------------------

texts = st.lists(st.text(alphabet="thecaton ,.é🙂\n", min_size=1, max_size=30), min_size=1, max_size=4)


def scored(family, written, generator):
    encoded = load_tokenizer(family).encode(written)
    offset_D1 = np.cumsum([0, *(len(document.token_ids_T) for document in encoded)])
    logprob_T = np.log(generator.beta(0.4, 0.2, int(offset_D1[-1])).clip(1e-9)).astype(np.float32)
    logprob_T[generator.random(len(logprob_T)) < 0.1] = np.nan
    spans = np.concatenate([document.span_T2 for document in encoded])
    return SpannedLogprobs([str(n) for n in range(len(written))], offset_D1, spans, logprob_T)


@settings(deadline=None, max_examples=60)
@given(
    written=texts, seed=st.integers(0, 99), families=st.sampled_from([("byte_level", "wordpiece"), ("byte_level",) * 2])
)
def test_overlap_is_what_sets_of_bytes_and_of_spans_give(written, seed, families):
    generator = np.random.default_rng(seed)
    pair = [scored(family, written, generator) for family in families]
    thresholds, group_D = [0.5, 0.9], np.arange(len(written))
    found = np.zeros((len(written), 2, 2, 4))
    add_overlap(found, *pair, group_D, thresholds)
    for document in range(len(written)):
        tokens = [
            [(tuple(one.span_T2[t]), one.logprob_T[t]) for t in range(*one.token_offset_D1[document : document + 2])]
            for one in pair
        ]

        def covered(number, keep, tokens=tokens):
            return {byte for span, logprob in tokens[number] if keep(logprob) for byte in range(*span)}

        is_scored = [covered(number, lambda logprob: not math.isnan(logprob)) for number in range(2)]
        for column, p in enumerate(thresholds):
            sets = [covered(number, lambda logprob, p=p: logprob >= math.log(p)) for number in range(2)]
            both = is_scored[0] & is_scored[1]
            wanted = [both, sets[0] & both, sets[1] & both, sets[0] & sets[1] & both]
            assert found[document, column, 0].tolist() == [len(one) for one in wanted]
            if families[0] == families[1]:  # equal spans: tokens are compared one by one
                own = [(a, b) for (span, a), (_, b) in zip(*tokens, strict=True)
                       if span[0] < span[1] and not (math.isnan(a) or math.isnan(b))]  # fmt: skip
                first, second = [a >= math.log(p) for a, _ in own], [b >= math.log(p) for _, b in own]
                total = [len(own), sum(first), sum(second), sum(np.logical_and(first, second))]
                if len({span for span, _ in tokens[0]}) == len(tokens[0]):  # no two tokens share a character
                    assert found[document, column, 1].tolist() == total


def test_one_prior_agrees_with_itself_and_independent_ones_as_chance_has_it():
    generator = np.random.default_rng(3)
    written = ["the cat sat on the mat, " * 40] * 50
    first, second = (scored("byte_level", written, generator) for _ in range(2))
    for other, wanted in ((first, 1.0), (second, None)):
        counted = np.zeros((50, 1, 2, 4))
        add_overlap(counted, first, other, np.arange(50), [0.9])
        value = {name: number[0] for name, number in shares(counted[:, 0, 1].sum(0)[None]).items()}
        if wanted is not None:
            assert value["jaccard"] == value["of_first"] == value["of_second"] == 1.0
        else:
            assert value["jaccard"] == pytest.approx(value["expected.jaccard"], abs=0.02)
            assert value["of_first"] == pytest.approx(value["eligible_second"], abs=0.02)


def test_nothing_eligible_is_no_share():
    values = shares(np.array([[100.0, 0, 10, 0]]))
    assert np.isnan(values["of_first"][0]) and np.isnan(values["expected.of_first"][0])
    assert values["of_second"][0] == values["jaccard"][0] == 0 == values["eligible_first"][0]


# --- whole runs -------------------------------------------------------------------------------------------------------

DOCUMENTS = repetitive_documents(12)
ODD = [
    {"id": "../../etc/<b>", "text": "cost $x_1$ \x1b[31m\x00 日本 café 🙂\ttab \u202e end", "source": "odd"},
    {"id": "one", "text": "x", "source": "odd"},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    save_model(folder / "model", [document["text"] for document in DOCUMENTS])
    save_model(folder / "another", ["completely different words make other tokens " * 3], width=16)
    write_jsonl(folder / "human.jsonl", DOCUMENTS)
    write_jsonl(folder / "other.jsonl", [{"id": f"o{n}", "text": f"zq {n} # " * (n + 2)} for n in range(9)])
    write_jsonl(folder / "odd.jsonl", ODD)
    return folder


def configured(root, name, corpus="human", other=None, min_p=0.0, top_k=64, **settings):
    def local(file):
        return CorpusConfig(kind="local", path=file and str(root / f"{file}.jsonl"), shard_bytes=2000)

    settings = {"thresholds": [0.002, 0.01], "ranks": [1, 8, 64], "bins": 10} | settings
    analysis = AnalysisConfig(
        name=name,
        other=local(other),
        other_prior=PriorConfig(kind="local", path=str(root / "another")),
        prior_quality=PriorQualityConfig(**settings),
        resamples=99,
    )
    return Config(
        corpus=local(corpus),
        prior=PriorConfig(kind="local", path=str(root / "model")),
        score=ScoreConfig(window=128, min_p=min_p, top_k=top_k),
        analysis=analysis,
        artifacts=str(root / "artifacts"),
    )


def summary_of(artifact):
    return json.loads((artifact.ensure() / "summary.json").read_text())


def no_nan(artifact):
    for file in artifact.path.iterdir():
        if file.suffix in (".md", ".csv", ".json", ".tex"):
            assert "nan" not in file.read_text().lower().replace("nanny", ""), file


def test_calibration_of_two_corpora_agrees_with_the_scores(root, capsys):
    config = configured(root, "calibration", other="other")
    artifact = stage.plan(config)
    summary = summary_of(artifact)
    scores = [read_scores(path) for path in sorted((artifact.inputs["scores"].path / "scores").glob("*.parquet"))]
    nll = -sum(float(np.nansum(shard.logprob_T.astype(float))) for shard in scores)
    measures = summary["corpora"][0]["measures"]
    written = sum(len(document["text"].encode()) for document in DOCUMENTS)
    assert measures["bits_per_byte"]["value"] == pytest.approx(nll / math.log(2) / written, rel=1e-6)
    tokens = sum(int((~np.isnan(shard.logprob_T)).sum()) for shard in scores)
    assert summary["corpora"][0]["tokens"] == tokens
    assert measures["perplexity"]["value"] == pytest.approx(math.exp(nll / tokens), rel=1e-6)
    stage.report(config, artifact)
    shown = capsys.readouterr().out
    assert "second minus first" in shown and "12 documents of human and 9 documents of other" in shown
    rows = list(csv.DictReader((artifact.path / "reliability.csv").open()))
    top = [row for row in rows if row["diagram"] == "top" and row["corpus"] == "human"]
    assert sum(int(row["statements"]) for row in top) == tokens
    no_nan(artifact)


def test_a_copy_is_as_calibrated(root):
    summary = summary_of(stage.plan(configured(root, "calibration", other="human")))
    assert [entry["name"] for entry in summary["corpora"]] == ["human (corpus)", "human (other)"]
    assert all(found is None or found["value"] == 0 for found in summary["difference"].values())


def test_scores_that_hold_too_little_are_refused_naming_the_override(root):
    for min_p, top_k, said in ((0.9, 64, r"P >= 0\.9: score\.min_p=0$"), (0.0, 8, r"8 candidates: score\.top_k=64$")):
        with pytest.raises(BadConfiguration, match=said):
            stage.plan(configured(root, "calibration", min_p=min_p, top_k=top_k))
    scores = stage.plan(configured(root, "probability_strip", min_p=0.9)).inputs["scores"]
    scores.ensure()
    config = configured(root, "calibration")
    config.scores = ArtifactConfig(path=str(scores.path))
    with pytest.raises(BadConfiguration, match=r"score\.min_p=0"):
        stage.plan(config)


def test_overlap_of_two_tokenizers_as_a_whole_run(root, capsys):
    config = configured(root, "eligible_overlap")
    artifact = stage.plan(config)
    summary = summary_of(artifact)
    assert summary["priors"] == ["model", "another"]
    assert 0 < summary["same_tokens"] < min(summary["tokens"])
    assert summary["scored"]["bytes"] > summary["scored"]["tokens"] > 0
    stage.report(config, artifact)
    assert "if they have nothing to do with each other" in capsys.readouterr().out
    rows = list(csv.DictReader((artifact.path / "table.csv").open()))
    assert {row["basis"] for row in rows} == {"bytes", "tokens"} and len(rows) == 2 * 2 * 8
    no_nan(artifact)
    config.analysis.other_prior = config.prior
    with pytest.raises(BadConfiguration, match=r"both priors are model.*analysis\.other_prior\.path"):
        stage.plan(config)


@pytest.mark.parametrize("texts", [["The cat sat."], ["The cat sat."] * 5, ["x", "y"]], ids=["one", "alike", "tokens"])
@pytest.mark.parametrize("name", ["calibration", "eligible_overlap", "probability_strip"])
def test_small_corpora_get_an_answer_without_nan(root, name, texts, capsys):
    file = f"small{len(texts)}"
    write_jsonl(root / f"{file}.jsonl", [{"id": f"{n}", "text": text} for n, text in enumerate(texts)])
    config = configured(root, name, file)
    artifact = stage.plan(config)
    artifact.ensure()
    stage.report(config, artifact)
    no_nan(artifact)
    assert "nan" not in capsys.readouterr().out.split()


def test_no_scored_token_is_one_line(root, tmp_path):
    for name in ("calibration", "eligible_overlap"):
        config = configured(root, name, "odd")
        config.score = ScoreConfig(window=128, min_p=0.0, context_token="none")
        config.corpus = CorpusConfig(kind="local", path=str(write_jsonl(tmp_path / "x.jsonl", [{"text": "x"}])))
        with pytest.raises(UnusableInput, match=r"no scored token|no byte that both") as raised:
            stage.plan(config).ensure()
        assert "\n" not in str(raised.value)


def strip_of(root, corpus, **settings):
    config = configured(root, "probability_strip", corpus)
    config.analysis.strip = StripConfig(**settings)
    return stage.plan(config)


def test_a_strip_holds_the_scores_own_tokens(root):
    wanted = DOCUMENTS[4]
    artifact = strip_of(
        root, "human", ids=[wanted["id"]], first_token=3, tokens=17, row_tokens=10, lines=[0.0005, 0.003]
    )
    artifact.ensure()
    rows = list(csv.DictReader((artifact.path / "tokens.csv").open()))
    scores = [read_scores(path) for path in sorted((artifact.inputs["scores"].path / "scores").glob("*.parquet"))]
    shard = next(shard for shard in scores if wanted["id"] in shard.ids)
    begin = int(shard.token_offset_D1[shard.ids.index(wanted["id"])]) + 3
    assert [int(row["position"]) for row in rows] == list(range(3, 20))
    for token, row in enumerate(rows, begin):
        assert float(row["logprob"]) == pytest.approx(float(shard.logprob_T[token]))
        p = math.exp(float(row["logprob"]))
        assert row["kind"] == ("eligible" if p >= 0.003 else "between" if p >= 0.0005 else "unlikely")
        assert [int(row["start"]), int(row["end"])] == shard.span_T2[token].tolist()
    text = wanted["text"].encode()[int(rows[0]["start"]) : int(rows[-1]["end"])].decode()
    assert "".join(row["text"] for row in rows).replace("␣", " ") == text


def test_odd_text_and_ids_are_only_data(root):
    artifact = strip_of(root, "odd", documents=2, tokens=60)
    artifact.ensure()
    assert not (root / "etc").exists() and len(list(artifact.path.glob("*.png"))) == 1
    written = (artifact.path / "tokens.csv").read_text()
    assert "\x1b" not in written and "\x00" not in written and "\\x1b" in written and "\u202e" not in written
    assert shown_bytes(b"\xf0\x9f") == "\\xf0\\x9f" and shown_bytes(b" a\n") == "␣a\\n"


def test_what_is_not_there_is_named(root):
    with pytest.raises(BadConfiguration, match=r"^analysis\.strip\.ids=nobody: no such document"):
        strip_of(root, "human", ids=["nobody"]).ensure()
    with pytest.raises(BadConfiguration, match=r"^analysis\.strip\.first_token=5000: document doc/0 has \d+ tokens"):
        strip_of(root, "human", first_token=5000).ensure()
    for key, value in {"lines": [0.9, 0.1], "tokens": 0, "documents": 0}.items():
        with pytest.raises(BadConfiguration, match=rf"strip\.{key}="):
            StripConfig(**{key: value})
    for key, value in {"thresholds": [1.0], "ranks": [0], "bins": 1}.items():
        with pytest.raises(BadConfiguration, match=rf"prior_quality\.{key}="):
            PriorQualityConfig(**{key: value})


def test_the_same_settings_give_the_same_bytes(root, tmp_path):
    for name in ("calibration", "eligible_overlap", "probability_strip"):
        config = configured(root, name, other="other" if name == "calibration" else None)
        first = stage.plan(config)
        first.ensure()
        config.out = str(tmp_path / name)
        again = stage.plan(config)
        again.ensure()
        files = [file.name for file in first.path.iterdir() if file.name != "manifest.json"]
        assert len(files) >= 5
        for file in files:
            assert (first.path / file).read_bytes() == (again.path / file).read_bytes(), file


def test_the_commands_compose_and_run(root):
    common = ["stage=analyze", "corpus=local", f"corpus.path={root / 'human.jsonl'}", "corpus.shard_bytes=2000"]
    common += ["prior=local", f"prior.path={root / 'model'}", "score.window=128", "analysis.resamples=99"]
    ran = run_command(*common, "analysis=calibration", "score.min_p=0", f"out={root / 'c'}", cwd=root)
    assert "Calibration of model" in ran.stdout and (root / "c" / "calibration.pdf").exists()
    refused = run_command(*common, "analysis=calibration", cwd=root, expect=2)
    assert "score.min_p=0" in refused.stderr and "Traceback" not in refused.stderr
    other = ["prior@analysis.other_prior=local", f"analysis.other_prior.path={root / 'another'}"]
    ran = run_command(*common, "analysis=eligible_overlap", *other, f"out={root / 'o'}", cwd=root)
    assert "under two priors" in ran.stdout
    planned = run_command(*common, "analysis=eligible_overlap", "dry_run=true", cwd=root)
    assert planned.stdout.count("scores") >= 2
    ran = run_command(*common, "analysis=probability_strip", "analysis.strip.ids=[doc/3]", cwd=root)
    assert "doc/3" in ran.stdout


def test_eligible_overlap_works_on_named_scores(root):
    config = configured(root, "eligible_overlap")
    planned = stage.plan(config)
    config.scores = ArtifactConfig(path=str(planned.inputs["scores"].ensure()))
    assert stage.plan(config).inputs["other_scores"].fingerprint == planned.inputs["other_scores"].fingerprint
    assert eligible_overlap.NAME in stage.plan(config).name
