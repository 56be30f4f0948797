"""Language models over generations: what each trains on, what the theory says of edits, verdicts, killed runs."""

import csv
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import run_command, write_jsonl

from analysis.theory.generations import chains, prediction, regimes, stage, trends
from analysis.theory.generations.measures import loss_of, measure, of_the_edit, trained, yardstick
from analysis.theory.generations.ngram_model import Documents
from analysis.theory.generations.regimes import EDITING, MATCHED, Arm, Chain, arms, real_text
from analysis.theory.generations.text import RealText, joined, read_text, taken
from analysis.theory.study import plan_study
from toedit.config import Config, CorpusConfig
from toedit.config.theory import TheoryConfig
from toedit.config.theory_generations import REGIMES, GenerationsConfig
from toedit.errors import BadConfiguration, UnusableInput
from toedit.fingerprints import hash_file

WORDS = ("sea", "salt", "wind", "harbour", "sail", "gull", "rope", "tide", "stone", "lamp", "net", "boat", "rain")
SMALL = {"seeds": 2, "tokens": 1500, "vocabulary_size": 300, "contexts": 20, "documents": 40, "resamples": 19}


def rows(count=120, seed=0):
    """Sentences of a small grammar: some words are nearly certain, most are not."""
    choose = np.random.default_rng(seed)
    made = []
    for number in range(count):
        pairs = choose.choice(WORDS, (choose.integers(2, 9), 2))
        text = " ".join(f"the {first} and the {second}." for first, second in pairs)
        origin = {"origin": f"book {number // 3}"}
        made.append({"id": str(number), "text": f"{text} {number}", "source": "made", "metadata": origin})
    return made


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generations")
    write_jsonl(folder / "texts.jsonl", rows())
    return folder


def configured(root, name="texts", generations=2, **settings):
    return Config(
        corpus=CorpusConfig(kind="local", path=str(root / f"{name}.jsonl")),
        theory=TheoryConfig(
            name="generations", generations=generations, language_model=GenerationsConfig(**{**SMALL, **settings})
        ),
        artifacts=str(root / "artifacts"),
    )


@pytest.fixture(scope="module")
def text(root):
    config = configured(root)
    return read_text(stage.inputs(config)["corpus"].ensure(), stage.settings(config))


def chain_of(text, regime, number=None, changes=(), **settings):
    settings = {**asdict(GenerationsConfig(**{**SMALL, **settings})), "generations": 3, "seed": 0}
    first = real_text(text, settings["tokens"], 0, 0)
    model = trained(text, first, settings)
    return Chain(Arm(regime, number), text, settings, 0, first, first, model, model, changes)


def step(chain):
    """The next generation; returns its text."""
    chain.edited = None
    chain.now = regimes.REGIMES[chain.arm.regime](chain)
    chain.generation += 1
    chain.model = trained(chain.text, chain.now, chain.settings)
    return chain.now


def texts_of(documents):
    return [documents[number].tolist() for number in range(len(documents))]


# --- real text --------------------------------------------------------------------------------------------------------


def test_no_work_is_in_two_parts_and_the_bytes_are_the_text_s(root, text):
    units = [set(part.unit_D.tolist()) for part in (text.pool, text.held_out, text.reference)]
    assert all(units) and not units[0] & units[1] and not units[0] & units[2] and not units[1] & units[2]
    assert sum(map(len, units)) == 40
    lengths = {row["text"] for row in rows()}
    ends = [int((part.token_T == text.end).sum()) for part in (text.pool, text.held_out, text.reference)]
    assert sum(ends) == len(rows()) and 0 < text.held_out_bytes < sum(len(line.encode()) for line in lengths)


def test_taking_cuts_the_last_document_only():
    documents = Documents(np.arange(10, dtype=np.int32), np.array([0, 3, 4, 10]), np.array([5, 6, 7]))
    part = taken(documents, np.array([2, 0, 1]), 8)
    assert texts_of(part) == [[4, 5, 6, 7, 8, 9], [0, 1]] and part.unit_D.tolist() == [7, 5]
    assert texts_of(joined([part, documents])) == [*texts_of(part), *texts_of(documents)]
    assert taken(documents, np.arange(3), 0).tokens == 0 and taken(documents, np.arange(3), 99).tokens == 10


# --- what generations train on ----------------------------------------------------------------------------------------


def test_every_regime_has_a_line_and_a_function():
    assert tuple(regimes.REGIMES) == REGIMES
    assert all(f"\n    {name} " in regimes.__doc__ for name in REGIMES)


@pytest.mark.parametrize("regime", [name for name in REGIMES if name not in MATCHED])
def test_the_sizes(text, regime):
    number = {"real_share": 0.3}.get(regime, 0.6 if regime in EDITING else None)
    chain = chain_of(text, regime, number)
    sizes = [step(chain).tokens for _ in range(3)]
    assert sizes == ([3000, 4500, 6000] if regime == "accumulate" else [1500] * 3)


def test_what_is_written_is_the_models(text):
    chain = chain_of(text, "replace")
    wanted = chain.model.sample(1500, 256, 0, "generation 0").token_T
    np.testing.assert_array_equal(step(chain).token_T, wanted)
    # Each later one is written by the model before it; what accumulates holds all of them.
    everything = chain_of(text, "accumulate")
    step(everything)
    np.testing.assert_array_equal(everything.now.token_T, np.concatenate([chain.first.token_T, wanted]))
    drawn = chain_of(text, "accumulate_subsample")
    kept = texts_of(step(drawn))[:-1]
    pool = texts_of(everything.now)
    assert all(document in pool for document in kept) and texts_of(drawn.now) != texts_of(drawn.first)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_real_share_stays_the_same_real_text(text, share):
    chain = chain_of(text, "real_share", share)
    for _ in range(2):
        step(chain)
        kept = round(share * 1500)
        np.testing.assert_array_equal(chain.now.token_T[:kept], chain.first.token_T[:kept])
        assert (chain.now.unit_D[-1] >= 2**32) == (share < 1)


def test_controls_on_real_text(text):
    same, fresh = chain_of(text, "same_text"), chain_of(text, "fresh_real")
    assert step(same) is same.first
    other = step(fresh)
    assert texts_of(other) != texts_of(fresh.first)
    assert set(other.unit_D.tolist()) <= set(text.pool.unit_D.tolist())


def test_edits_change_confident_tokens_alone(text):
    chain = chain_of(text, "edit_own_prior", 0.5)
    prior, before = chain.model, chain.now
    step(chain)
    changed_T = chain.now.token_T != before.token_T
    assert 0 < changed_T.sum() == chain.edited.changed <= chain.edited.eligible
    assert (prior.log_probabilities(before)[changed_T] >= math.log(0.5)).all()
    np.testing.assert_array_equal(chain.now.token_T == text.end, before.token_T == text.end)
    assert of_the_edit(chain)["changed"] == chain.edited.changed / (before.token_T != text.end).sum()


def test_one_prior_or_the_last_one(text):
    """Fixed and re-estimated priors agree in the first generation; edit_once stops there."""
    made = {name: chain_of(text, name, 0.5) for name in ("edit_once", "edit_fixed_prior", "edit_own_prior")}
    first = [step(chain).token_T for chain in made.values()]
    assert all((token_T == first[0]).all() for token_T in first)
    second = {name: step(chain).token_T for name, chain in made.items()}
    assert (second["edit_once"] == first[0]).all() and made["edit_once"].edited is None
    assert (second["edit_fixed_prior"] != second["edit_own_prior"]).any()


def test_an_edit_with_p_1_moves_nothing(text):
    for discount in (0.0, 0.75):
        chain = chain_of(text, "edit_own_prior", 1.0, discount=discount)
        np.testing.assert_array_equal(step(chain).token_T, chain.first.token_T)


@pytest.mark.parametrize("regime", MATCHED)
def test_controls_change_as_many_tokens(text, regime):
    chain = chain_of(text, regime, 0.5, changes=[40, 7])
    sure_T = chain.first_model.log_probabilities(chain.first) >= math.log(0.5)
    for wanted in (40, 7):
        before = chain.now.token_T
        changed_T = step(chain).token_T != before
        assert changed_T.sum() == wanted == chain.edited.changed
        np.testing.assert_array_equal(chain.now.token_T == text.end, before == text.end)
        assert sure_T[changed_T].all() or regime == "random_tokens"
    assert chain.edited.eligible is None


# --- measures ---------------------------------------------------------------------------------------------------------


def test_measures_are_what_they_say(text):
    chain = chain_of(text, "replace")
    yard = yardstick(text, chain.first, chain.model, chain.settings, 0, None)
    found = measure(yard, chain)
    is_text_T = text.held_out.token_T != text.end
    smoothed = chain.model.with_discount(chain.settings["measuring_discount"])
    nats = -smoothed.log_probabilities(text.held_out)[is_text_T].sum()
    assert found["loss"] == pytest.approx(nats / is_text_T.sum())
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / text.held_out_bytes)
    assert found["tv_to_first"] == 0 and 0 < found["predictive_entropy"] < math.log(text.vocabulary_size)
    # Held-out text itself holds all of its rare tokens, and is not told from itself.
    itself = measure(yard, replace(chain, now=text.held_out))
    assert itself["rare_token_recall"] == itself["rare_bigram_recall"] == 1 > found["rare_bigram_recall"]
    assert itself["ks"] < 0.2 and itself["ks_p"] > 0.05
    step(chain)
    after = measure(yard, chain)
    assert after["tv_to_first"] > 0.05 and set(after) == set(found) and np.isfinite(list(after.values())).all()


def test_what_the_real_text_that_is_left_brings_back(text):
    """All of it brings back the first loss; the kept half what that half alone gives; none of it nothing."""
    settings = {**asdict(GenerationsConfig(**SMALL)), "generations": 2, "seed": 0}
    values = {}
    for arm in (Arm("same_text"), Arm("real_share", 0.5), Arm("real_share", 0.0), Arm("replace"), Arm("accumulate")):
        rows, _ = chains.run(arm, 0, text, settings, [], lambda: None)
        values[arm.name] = {(row["metric"], row["generation"]): row["value"] for row in rows}
    assert ("recovered_loss", 2) not in values.pop("accumulate")
    recovered = {name: found["recovered_loss", 2] for name, found in values.items()}
    assert recovered["same_text"] == values["same_text"]["loss", 0]
    for nothing_left in ("real_share 0", "replace"):
        assert recovered[nothing_left] == values[nothing_left]["loss", 2] > recovered["same_text"]
    chain = chain_of(text, "real_share", 0.5)
    yard = yardstick(text, chain.first, chain.model, chain.settings, 0, None)
    half = taken(chain.first, np.arange(len(chain.first)), 750)
    assert recovered["real_share 0.5"] == loss_of(yard, trained(text, half, chain.settings))
    assert recovered["same_text"] < recovered["real_share 0.5"] < recovered["replace"]


# --- the discrete theory ----------------------------------------------------------------------------------------------


def test_the_theory_s_own_numbers():
    """Fixed prior, h = 0.995; re-estimated prior, threshold 0.99."""
    by_round = prediction._fixed_prior(np.array([0.995]), 0.99, 500)
    shown = [round(float(by_round[t - 1][1][0]), 3) for t in (1, 10, 50, 100, 500)]
    assert shown == [0.005, 0.049, 0.221, 0.392, 0.914]
    h = np.linspace(0.99, 1, 20_001)
    last = np.stack([variation_P for _, variation_P in prediction._own_prior(h, 0.99, 200)])
    assert (np.diff(last, axis=0) >= 0).all() and last.max() <= 1 - 0.99**2 + 1e-12
    assert last.max() == pytest.approx(0.0199, abs=1e-4)


@pytest.mark.parametrize(("regime", "p"), [("edit_fixed_prior", 0.8), ("edit_own_prior", 0.8)])
def test_chains_without_contexts_follow_it(regime, p):
    """A 1-gram model without discount: the theory's assumptions hold, so eligible shares and variation do."""
    h, tokens, seeds = 0.95, 4000, 12
    vocabulary, end = 20, 0
    generator = np.random.default_rng(0)
    token_T = np.where(np.arange(tokens) < h * tokens, 1, 2 + np.arange(tokens) % (vocabulary - 2)).astype(np.int32)
    first = Documents(generator.permutation(token_T), np.arange(0, tokens + 1, 400), np.arange(tokens // 400))
    text = RealText(first, first, first, 1, vocabulary, end)
    eligible, variation = [], []
    for seed in range(seeds):
        settings = {
            **asdict(GenerationsConfig(tokens=tokens, order=1, discount=0.0, k=19)),
            "generations": 4,
            "seed": seed,
        }
        model = trained(text, first, settings)
        chain = Chain(Arm(regime, p), text, settings, seed, first, first, model, model)
        predicted = prediction.predicted(chain, np.array([h]))
        law_V = model.laws(first, np.array([0]))[0]
        assert law_V[1] == pytest.approx(h)
        eligible.append([])
        variation.append([])
        for _ in range(4):
            step(chain)
            eligible[-1].append(chain.edited.eligible / tokens)
            variation[-1].append(abs(chain.model.laws(first, np.array([0]))[0] - law_V).sum() / 2)
    for seen, key in ((eligible, "eligible_predicted"), (variation, "tv_where_sure_predicted")):
        seen_SG = np.array(seen)
        wanted_G = np.array([row[key] for row in predicted])
        error_G = seen_SG.std(axis=0, ddof=1) / math.sqrt(seeds)
        # The variation of a sample is a little more than that of its law: the rest of the law is uncertain too.
        assert (abs(seen_SG.mean(axis=0) - wanted_G) < 4 * error_G + 0.006).all(), (key, seen_SG.mean(axis=0), wanted_G)
    assert np.diff(wanted_G).min() >= 0


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_verdicts():
    generator = np.random.default_rng(0)
    generation = np.arange(21)
    seed_S1 = 4 + generator.normal(size=(5, 1))
    noise = 0.001 * generator.normal(size=(5, 21))
    found = trends.trends(
        {
            "rises": seed_S1 + 0.02 * generation + noise,
            "falls": seed_S1 - 0.02 * generation + noise,
            "flat": seed_S1 + noise,
            "jumped": seed_S1 + (generation > 0) + noise,
            "same": seed_S1 + 0 * generation,
            "unclear": seed_S1 + generator.normal(size=(5, 1)) * generation,
        },
        margin=0.01,
    )
    wanted = ["collapses", "neither", "stable", "stable", "stable", "neither"]
    assert [trend.verdict for trend in found.values()] == wanted
    assert found["rises"].drift.value == pytest.approx(0.2, abs=0.01) and found["rises"].drift.low > 0.19
    assert found["jumped"].change.value == pytest.approx(1, abs=0.01) and found["same"].drift.low is None
    assert trends.trends({"one seed": np.array([[1.0, 2.0, 3.0]])}, 0.01)["one seed"].verdict == "neither"


# --- whole runs -------------------------------------------------------------------------------------------------------


def files(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): hash_file(path) for path in paths}


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(root, monkeypatch):
    config = configured(root, regimes=["replace", "edit_own_prior", "random_tokens"], p=[0.5], counts="occurrences")
    whole = plan_study(stage.STUDY, replace(config, out=str(root / "whole"))).ensure()
    begun = []

    def killed(arm, seed, *rest):
        begun.append((arm.name, seed))
        if len(begun) == 4:
            raise KeyboardInterrupt
        return chains.run(arm, seed, *rest)

    monkeypatch.setattr(stage, "run", killed)
    halves = plan_study(stage.STUDY, replace(config, out=str(root / "halves")))
    with pytest.raises(KeyboardInterrupt):
        halves.ensure()
    assert len(list((root / "halves" / "runs").iterdir())) == 3
    halves.ensure()
    assert begun[3] == begun[4] and len(begun) == 7  # six runs, one of them begun twice
    assert files(root / "halves") == files(whole)
    with (whole / "data.csv").open() as file:
        found = list(csv.DictReader(file))
    changed = {
        (row["arm"], row["seed"], row["generation"]): row["value"] for row in found if row["metric"] == "changed"
    }
    for (arm, *rest), value in changed.items():
        assert float(value) > 0 and value == changed["random_tokens p=0.5", *rest], arm
    assert np.isfinite([float(row["value"]) for row in found]).all()


def test_the_command(root):
    """All regimes; what it shows, and that it is not done twice."""
    own = [f"theory.language_model.{key}={value}" for key, value in {**SMALL, "tokens": 800}.items()]
    arguments = [
        "stage=theory",
        "theory=generations",
        "theory.generations=2",
        *own,
        "corpus=local",
        "corpus.path=texts.jsonl",
    ]
    run = run_command(*arguments, "out=command", cwd=root)
    table = (root / "command" / "table.md").read_text()
    names = [arm.name for arm in arms(asdict(GenerationsConfig()))]
    assert len(names) == 17 and all(f"| {name} |" in table and name in run.stdout for name in names)
    assert "nan" not in table.lower() and "inf" not in (root / "command" / "data.csv").read_text()
    summary = json.loads((root / "command" / "summary.json").read_text())
    assert set(summary["trends"]) == set(names) and summary["settings"]["seed"] == 0
    assert {trend["verdict"] for trend in summary["trends"].values()} <= {"stable", "collapses", "neither"}
    assert all(
        (root / "command" / f"generations.{extension}").stat().st_size > 1000 for extension in ("png", "pdf", "svg")
    )
    again = run_command(*arguments, "out=command", cwd=root)
    assert "already there" in again.stdout


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"order": 0}, "theory.language_model.order=0"),
        ({"real_shares": [0.5, 1.5]}, "theory.language_model.real_shares"),
        ({"real_shares": []}, "theory.language_model.real_shares"),
        ({"held_out_share": 1.0}, "theory.language_model.held_out_share=1.0"),
        ({"held_out_share": 0.6, "reference_share": 0.5}, "theory.language_model.held_out_share"),
        ({"discount": -0.1}, "theory.language_model.discount=-0.1"),
        ({"measuring_discount": 0.0}, "theory.language_model.measuring_discount"),
        ({"p": [0.0]}, "theory.language_model.p"),
        ({"p": [0.5, 0.5]}, "theory.language_model.p"),
        ({"regimes": ["replaced"]}, "theory.language_model.regimes=replaced"),
        ({"regimes": []}, "theory.language_model.regimes"),
        ({"regimes": ["random_tokens"]}, "edit_own_prior"),
        ({"vocabulary_size": 100}, "theory.language_model.vocabulary_size=100"),
        ({"seeds": 0}, "theory.language_model.seeds=0"),
        ({"counts": "all"}, "theory.language_model.counts=all"),
    ],
)
def test_bad_settings_name_their_key(settings, key):
    with pytest.raises(BadConfiguration) as error:
        GenerationsConfig(**settings)
    assert key in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "made", "settings", "part"),
    [
        ("few", rows(20), {}, "theory.language_model.tokens=1500: the corpus leaves"),
        ("one", rows(1), {"unit_fields": []}, "1 work(s) in 1 document(s)"),
        ("works", rows(3), {"unit_fields": ["source"]}, "part"),
        ("held", rows(60), {"held_out_share": 0.02}, "held-out"),
    ],
)
def test_a_corpus_that_is_too_small_is_one_line(root, name, made, settings, part):
    write_jsonl(root / f"{name}.jsonl", made)
    with pytest.raises(UnusableInput) as error:
        plan_study(stage.STUDY, configured(root, name, **settings)).ensure()
    assert part in str(error.value) and "\n" not in str(error.value)


def test_zero_generations_end_with_code_2(root):
    run = run_command("stage=theory", "theory=generations", "theory.generations=0", cwd=root, expect=2)
    assert "theory.generations=0: must be at least 1" in run.stderr and "Traceback" not in run.stderr
