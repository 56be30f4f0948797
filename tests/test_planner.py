"""Plans before anything is paid for: costs against hand counts, expectations against the scalar transcription."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from math import fsum
from pathlib import Path

import numpy as np
import pytest
from artifact_fixtures import CANDIDATES, build_scores
from conftest import REPOSITORY, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from scalar_reference import edit_token

from analysis import expected_changes
from analysis.expected_changes_figure import percent
from toedit.budget import resolve_budget, thresholds
from toedit.config import ArtifactConfig, Config, EditConfig, PlanConfig, ShapeConfig
from toedit.costs import corpus_tokens, flops_per_token, measure_flops_per_second, score_bytes_per_token
from toedit.edit_corpus import plan_edit
from toedit.editors.resampling import top_k
from toedit.errors import BadConfiguration
from toedit.expectation import Grid, expect, expect_shard
from toedit.scores import ShardScores, read_scores, scores_path
from toedit.stages import edit as edit_stage

TEXTS = ["the cat sat on the mat, and the dog sat.\n" * 30, "naïve 🙂 <b>" * 9, "x", "the dog sat on a cat " * 40, "a"]
GRID = Grid([0.9, 0.95, 0.99, 0.999], [1, 2, CANDIDATES], [0.5, 1.0, 1.5, 4.0])


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return build_scores(tmp_path_factory.mktemp("scores"), TEXTS)


def shards_of(scores):
    return [read_scores(path) for path in sorted((scores.path / "scores").glob("*.parquet"))]


def odd_scores(seed, count=60, candidates=6):
    """One document whose tokens are sure or not, its own token anywhere among the candidates or absent."""
    generator = np.random.default_rng(seed)
    mass_NK = -np.sort(-generator.dirichlet(np.full(candidates, generator.choice([0.1, 1.0])), count), axis=1)
    logprob_NK = np.log(np.maximum(mass_NK * 0.999, 1e-12)).astype(np.float32)
    id_NK = np.stack([generator.permutation(50)[:candidates] for _ in range(count)]).astype(np.int32)
    rank_N = generator.integers(0, candidates, count)
    offset_D1 = np.array([0, count])
    return ShardScores(
        ids=["odd"],
        token_offset_D1=offset_D1,
        token_id_T=id_NK[np.arange(count), rank_N],
        span_T2=np.zeros((count, 2), np.int32),
        logprob_T=logprob_NK[np.arange(count), rank_N],
        candidate_offset_D1=offset_D1,
        candidate_position_N=np.arange(count, dtype=np.int32),
        candidate_id_NK=id_NK,
        candidate_logprob_NK=logprob_NK,
    )


def scalar_expectation(scores, p, k, temperature, strict):
    """(eligible, expected changed), one token at a time."""
    outcomes = [
        edit_token(
            int(scores.token_id_T[token]),
            float(scores.logprob_T[token]),
            candidates.tolist(),
            logprobs.tolist(),
            0.5,
            p,
            k,
            temperature,
            strict,
        )
        for token, candidates, logprobs in zip(
            scores.token_N, scores.candidate_id_NK, scores.candidate_logprob_NK, strict=True
        )
    ]
    return sum(eligible for eligible, _, _ in outcomes), fsum(change for _, _, change in outcomes)


# --- expectations -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), strict=st.booleans())
def test_expectations_equal_the_sum_over_tokens_of_the_scalar_transcription(seed, strict):
    scores = odd_scores(seed)
    grid = Grid([1e-9, 0.3, 0.9], [1, 3, 6, 9], [0.3, 1.0, 2.5], strict)
    eligible_P, changed_PJS = expect_shard(scores, grid)
    for (i, j, s), changed in np.ndenumerate(changed_PJS):
        eligible, expected = scalar_expectation(scores, grid.p[i], grid.k[j], grid.temperature[s], strict)
        assert eligible_P[i] == eligible
        assert changed == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("strict", [False, True])
def test_the_grid_equals_what_each_edit_says_of_itself(scores, strict):
    expected = expect(scores.path, replace(GRID, strict=strict))
    assert expected.tokens == scores.manifest()["counts"]["tokens"]
    for (i, j, s), changed in np.ndenumerate(expected.changed_PJS):
        edit = EditConfig(p=GRID.p[i], k=GRID.k[j], temperature=GRID.temperature[s], strict=strict)
        draws = [top_k(shard, None, edit) for shard in shards_of(scores)]  # reads no tokenizer
        assert changed == pytest.approx(sum(one.expected_changed for one in draws), rel=1e-12, abs=1e-12)
        assert expected.eligible_P[i] == sum(len(one.index_E) for one in draws)


def test_expectations_grow_as_they_should(scores):
    changed_PJS = expect(scores.path, GRID).changed_PJS
    assert (np.diff(changed_PJS, axis=0) <= 0).all()  # a higher p
    assert (np.diff(changed_PJS, axis=1) >= 0).all()  # more candidates
    assert (np.diff(changed_PJS[:, 1:], axis=2) > 0).all()  # hotter
    assert (changed_PJS[:, 0] == 0).all()  # the only candidate is the token itself
    eligible_P = expect(scores.path, GRID).eligible_P
    at_one_PJ = changed_PJS[:, :, GRID.temperature.index(1.0)]
    assert (at_one_PJ <= eligible_P[:, None] * (1 - np.array(GRID.p)[:, None]) + 1e-9).all()


# --- the forecast -----------------------------------------------------------------------------------------------------


def forecast(scores, root, **asked):
    path = ArtifactConfig(path=str(scores.path))
    return Config(artifacts=str(root), scores=path, plan=PlanConfig(**asked))


ASKED = {"p": [0.99, 0.9], "k": [4, 2], "temperature": [1.0, 2.0, 3.0]}


def test_the_forecast_is_a_tidy_table_and_a_picture(scores, tmp_path, capsys):
    config = forecast(scores, tmp_path, **ASKED)
    artifact = expected_changes.plan(config)
    folder = artifact.ensure()
    rows = list(csv.DictReader((folder / "expected_changes.csv").open()))
    assert len(rows) == 12
    grid = Grid([0.9, 0.99], [2, 4], [1.0, 2.0, 3.0])
    expected = expect(scores.path, grid)
    for row in rows:
        at = tuple(getattr(grid, key).index(float(row[key])) for key in ("p", "k", "temperature"))
        assert float(row["expected_changed"]) == expected.changed_PJS[at]
        assert float(row["expected_share"]) == expected.changed_PJS[at] / expected.tokens
        assert float(row["eligible_share"]) == int(row["eligible"]) / expected.tokens
    row = expected_changes.report(config, artifact)
    output = capsys.readouterr().out
    assert "changed, k=4" in output and f"{max(float(row['expected_share']) for row in rows):.4%}" in output
    assert row["settings"] == "12"
    again = expected_changes.plan(forecast(scores, tmp_path / "again", **ASKED)).ensure()
    for extension in ("png", "pdf", "svg", "csv", "json"):
        name = f"expected_changes.{extension}"
        assert (folder / name).stat().st_size and (again / name).read_bytes() == (folder / name).read_bytes()
    assert (folder / "expected_changes.svg").read_text().count("temperature") >= 3


def test_cells_of_the_picture_are_short():
    shares = (0, 1e-9, 1e-5, 0.000999, 0.0123, 0.5)
    assert " ".join(map(percent, shares)) == "0% 1e-07% 0.0010% 0.10% 1.2% 50%"


def test_one_setting_that_changes_nothing_is_a_picture_too(scores, tmp_path):
    assert expected_changes.plan(forecast(scores, tmp_path, k=[1])).ensure().is_dir()


def test_what_the_scores_lack_is_refused_by_key(scores, tmp_path):
    with pytest.raises(BadConfiguration, match=r"^plan\.p=0\.8: .*add score\.min_p=0\.8$"):
        expected_changes.plan(forecast(scores, tmp_path, p=[0.99, 0.8]))
    with pytest.raises(BadConfiguration, match=r"^plan\.k=8: .*add score\.top_k=8$"):
        expected_changes.plan(forecast(scores, tmp_path, k=[8, 2]))
    for wrong in ({"p": []}, {"p": [0.0]}, {"k": [0]}, {"k": [8, 8]}, {"temperature": [-1.0]}):
        with pytest.raises(BadConfiguration, match=rf"^plan\.{next(iter(wrong))}="):
            PlanConfig(**wrong)


def test_matplotlib_is_imported_only_to_draw():
    imports = "import sys, analysis.expected_changes, toedit.stages.plan, toedit.stages.edit"
    code = f"{imports}; sys.exit(bool({{'matplotlib', 'torch'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


# --- the budget -------------------------------------------------------------------------------------------------------


def share_of(scores, edit):
    expected = expect(scores.path, Grid([edit.p], [edit.k], [edit.temperature], edit.strict))
    return float(expected.changed_PJS[0, 0, 0] / expected.tokens)


@pytest.mark.parametrize("budget", [0.0001, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("k", [2, 4])
def test_a_budget_is_met_at_the_given_p_and_k(scores, budget, k):
    found = resolve_budget(scores, EditConfig(p=0.97, k=k, budget=budget))
    assert (found.p, found.k, found.budget) == (0.97, k, None)
    assert share_of(scores, found) == pytest.approx(budget, rel=1e-3)
    assert float(f"{found.temperature:.6g}") == found.temperature


def test_p_is_lowered_no_further_than_a_budget_needs(scores, capsys):
    p_P = thresholds(0.99, scores.identity["min_p"])
    assert p_P == [0.99, 0.98, 0.96, 0.92, 0.9]
    reach_P = [share_of(scores, EditConfig(p=p, k=4, temperature=128)) for p in p_P]
    found = resolve_budget(scores, EditConfig(p=0.99, k=4, budget=(reach_P[1] + reach_P[2]) / 2))
    assert found.p == 0.96
    assert share_of(scores, found) == pytest.approx((reach_P[1] + reach_P[2]) / 2, rel=1e-3)
    assert "p=0.96 (p=0.99 is too high at any temperature), k=4" in capsys.readouterr().out


def test_thresholds_to_try_end_where_the_scores_do():
    assert thresholds(1.0, 0.99) == [1.0, 0.998, 0.996, 0.992, 0.99]
    assert thresholds(0.9, 0.9) == [0.9]
    assert thresholds(0.7, 0.0) == [0.7, 0.4, 1e-9]


def test_a_budget_out_of_reach_names_the_largest_share_and_the_key(scores):
    reach = share_of(scores, EditConfig(p=0.9, k=4, temperature=128))
    with pytest.raises(BadConfiguration) as raised:
        resolve_budget(scores, EditConfig(p=0.99, k=4, budget=0.9))
    message = str(raised.value)
    assert message.startswith("edit.budget=0.9: out of reach") and "\n" not in message
    assert f"at most {reach:.4g}" in message and message.endswith("smaller score.min_p")
    expected = expect(scores.path, Grid([0.9], [4], [1.0]))
    assert reach < expected.eligible_P[0] / expected.tokens * 3 / 4


def test_budgets_that_make_no_sense_are_refused(scores):
    for budget in (0, -0.1, 1, 2):
        with pytest.raises(BadConfiguration, match=r"^edit\.budget="):
            EditConfig(budget=budget)
    with pytest.raises(BadConfiguration, match=r"edit\.sampler=top_k, not none"):
        resolve_budget(scores, EditConfig(sampler="none", budget=0.01))
    with pytest.raises(BadConfiguration, match=r"^edit\.p=0\.5: .*score\.min_p=0\.5"):
        resolve_budget(scores, EditConfig(p=0.5, k=4, budget=0.01))


def test_a_budget_is_found_where_the_expectation_is_not_monotone(tmp_path, monkeypatch):
    """Tokens that are not the most probable: colder draws change more of them."""
    shard = odd_scores(3, count=400)
    scores = build_scores(tmp_path, ["a"])
    scores.identity["min_p"] = 0.0
    monkeypatch.setattr("toedit.expectation.read_scores", lambda path: shard)
    monkeypatch.setattr("toedit.expectation.read_manifest", lambda path: {"counts": {"tokens": 400}})
    grid = Grid([1e-9], [4], np.geomspace(1 / 64, 128, 60).tolist())
    share_S = expect(scores.path, grid).changed_PJS[0, 0] / 400
    assert not (np.diff(share_S) > 0).all() and not (np.diff(share_S) < 0).all()
    budget = float(share_S[25])
    found = resolve_budget(scores, EditConfig(p=1e-9, k=4, budget=budget))
    assert share_of(scores, found) == pytest.approx(budget, rel=1e-3)


def test_an_edit_found_by_budget_is_the_edit_written_by_hand(scores, tmp_path):
    settings = {"p": 0.95, "k": 4}
    path = ArtifactConfig(path=str(scores.path))
    config = Config(artifacts=str(tmp_path), scores=path, edit=EditConfig(**settings, budget=0.02))
    by_budget = edit_stage.plan(config)
    found = EditConfig(**by_budget.identity)
    by_hand = plan_edit(scores, EditConfig(**settings, temperature=found.temperature), tmp_path)
    assert by_budget.fingerprint == by_hand.fingerprint and by_budget.path == by_hand.path
    assert edit_stage.plan(replace(config, dry_run=True)).path == by_hand.path  # the scores are there: it is resolved
    by_budget.ensure()
    manifest = by_budget.manifest()
    assert manifest["counts"]["expected_changed"] / manifest["counts"]["tokens"] == pytest.approx(0.02, rel=1e-3)
    assert manifest["identity"]["temperature"] == found.temperature and "budget" not in manifest["identity"]


def test_a_dry_run_says_that_the_budget_will_be_resolved(tmp_path, corpus_file, small_prior):
    inputs = ["corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}"]
    run = run_command("stage=edit", *inputs, "edit.budget=0.01", "dry_run=true", cwd=tmp_path)
    assert "edit.budget 0.01: p, temperature and this address follow from the scores" in run.stdout
    assert not list((tmp_path / "artifacts").glob("scores/*"))
    run = run_command("stage=edit", *inputs, "edit.p=0.9", "edit.budget=0.01", cwd=tmp_path)
    assert "change an expected 1.00" in run.stdout and "expected 1.00" in run.stdout.splitlines()[-2]


# --- the cost ---------------------------------------------------------------------------------------------------------


def test_flops_equal_a_hand_count():
    """One layer of width 4, three tokens of context and one more: every product written out."""
    width, inner, vocabulary, window = 4, 8, 10, 3
    parameters = 4 * width**2 + 2 * width * inner + vocabulary * width
    counted = 0
    for position in range(1, window + 1):
        counted += 2 * 4 * width * width  # query, key, value, output
        counted += 2 * 2 * width * inner  # feed-forward, up and down
        counted += 2 * vocabulary * width  # LM head
        counted += 2 * width * position + 2 * width * position  # scores against, and sum over, the tokens so far
    shape = ShapeConfig(parameters=parameters, hidden_size=width, layers=1)
    assert window * flops_per_token(shape, window) == counted
    assert flops_per_token(ShapeConfig(parameters=7), 2048) == 14


def test_scores_of_a_confident_token_are_counted_column_by_column(scores):
    assert score_bytes_per_token(64, 0) == 4 + 2 * 4 + 4
    assert score_bytes_per_token(64, 1) == 16 + 4 + 64 * (4 + 4)
    shard = read_scores(scores_path(scores.path, "00000"))
    columns = (shard.token_id_T, shard.span_T2, shard.logprob_T)
    candidates = (shard.candidate_position_N, shard.candidate_id_NK, shard.candidate_logprob_NK)
    tokens, share = len(shard.token_id_T), len(shard.candidate_position_N) / len(shard.token_id_T)
    size = sum(array.nbytes for array in (*columns, *candidates))
    assert tokens * score_bytes_per_token(CANDIDATES, share) == pytest.approx(size)


def test_tokens_of_a_corpus():
    assert corpus_tokens({"bytes": 4000})[0] == 1000
    assert corpus_tokens({"tokens": 7})[0] == 7


def cost_of(folder):
    cost = json.loads((folder / "cost.json").read_text())
    return {row["prior"]: row for row in cost["rows"]}, cost["assumptions"]


def test_the_cost_of_a_pass_for_every_prior(tmp_path):
    arguments = ["stage=plan", "plan.tokens=1e12", "plan.device=a100", "score.top_k=32", "out=cost"]
    run = run_command(*arguments, "plan.utilisation=0.5", "+prior@plan.priors.mine=gpt2", cwd=tmp_path)
    rows, assumptions = cost_of(tmp_path / "cost")
    names = list(rows)
    assert names[0] == "tiny" and names[-1] == "llama3_70b" and len(names) == 8
    row = rows["llama3_8b"]
    flops = 1e12 * (2 * 8030261248 + 2 * 32 * 4096 * 2049)
    assert row["flops"] == pytest.approx(flops, rel=1e-12)
    assert row["hours"] == pytest.approx(flops / (312e12 * 0.5) / 3600, rel=1e-12)
    assert row["tokens_per_second"] * row["hours"] * 3600 == pytest.approx(1e12)
    assert row["weights_bytes"] == 2 * 8030261248 and row["devices_for_weights"] == 1
    assert rows["llama3_70b"]["devices_for_weights"] == 2
    assert row["scores_bytes"] == pytest.approx(1e12 * (16 + 0.15 * (4 + 32 * 8)))
    assert rows["gpt2"]["window_tokens"] == 1024 and rows["mine"]["flops"] == rows["gpt2"]["flops"]
    for line in assumptions:
        assert line in run.stdout and line in (tmp_path / "cost" / "cost.md").read_text()
    assert "hours (a100)" in run.stdout and "TFLOP/s" in run.stdout
    tidy = list(csv.DictReader((tmp_path / "cost" / "cost.csv").open()))
    assert [(line["prior"], float(line["hours"])) for line in tidy] == [(name, rows[name]["hours"]) for name in names]
    manifest = json.loads((tmp_path / "cost" / "manifest.json").read_text())
    assert manifest["kind"] == "table" and manifest["identity"]["device"]["flops_per_second"] == 312e12


def test_the_cost_for_ones_own_corpus_and_prior_on_this_machine(tmp_path, corpus_file, small_prior):
    arguments = ["corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}"]
    run = run_command("stage=plan", *arguments, "plan.device=this_machine", "out=cost", cwd=tmp_path)
    rows, assumptions = cost_of(tmp_path / "cost")
    text = sum(len(json.loads(line)["text"].encode()) for line in Path(corpus_file).read_text().splitlines())
    assert rows["hf"]["tokens"] == text / 4 and rows["hf"]["window_tokens"] == 48
    assert rows["hf"]["weights_bytes"] == 4 * rows["hf"]["parameters"]  # float32 is what score.dtype says
    assert "measured on a large float32 matrix product" in assumptions[1] and "hours (this machine)" in run.stdout


def test_a_matrix_product_is_measured():
    assert 1e7 < measure_flops_per_second("float32", seconds=0.05) < 1e16


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("plan.device=h10", ["plan.device=h10", "h100, h200, a100, rtx4090, this_machine"]),
        ("plan.tokens=0", ["plan.tokens=0"]),
        ("plan.utilisation=2", ["plan.utilisation=2"]),
        ("plan.devices.h100.flops_per_second=0", ["plan.devices.h100.flops_per_second=0", "positive"]),
        ("plan.devices.h100.memory=1", ["plan.devices.h100.memory", "no such key"]),
        ("++plan.priors.gpt2.shpe=1", ["plan.priors.gpt2.shpe", "no such key"]),
        ("plan.priors.gpt2.shape.parameters=null", ["prior gpt2", "size is not known"]),
    ],
)
def test_bad_plans_are_one_line(argument, parts, tmp_path):
    run = run_command("stage=plan", argument, cwd=tmp_path, expect=2)
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert all(part in line for part in parts) and "Traceback" not in run.stderr
