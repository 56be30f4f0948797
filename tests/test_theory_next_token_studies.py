"""The studies of the next-token model as whole artifacts, tiny; and as a user meets them."""

import copy
import csv
import json
import math
from functools import cache

import numpy as np
import pytest
from conftest import REPOSITORY, run_command
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

import toedit.config
from analysis.theory.next_token.safe_amount import _crossing
from analysis.theory.next_token.trajectories import Mean
from analysis.theory.stage import _MODULES, plan, report
from toedit.command import build_config
from toedit.errors import BadConfiguration

TINY = {
    "simplex": ["theory.next_token.contexts=6", "theory.next_token.n=30", "theory.next_token.shown=[0,3,20]"],
    "collapse_time": ["theory.next_token.n=[5,20]", "theory.trials=20"],
    "partially_synthetic": ["theory.next_token.n=[5,50]", "theory.next_token.N=20", "theory.generations=6"],
    "windows": ["theory.generations=30", "theory.trials=10", "theory.next_token.windows=[1,2]"],
    "dirac_probability": ["theory.next_token.n=[5,20]", "theory.trials=20", "theory.generations=25"],
    "safe_amount": ["theory.next_token.N=[30,3000]", "theory.trials=20", "theory.next_token.epsilons=[0.1,0.5]"],
    "token_editing": ["theory.next_token.contexts=40", "theory.next_token.n=60", "theory.generations=4"],
}


def configured(name, *overrides):
    """As the command would have it. Hydra composes once a study; dotted keys are then set here, `~key` is left out."""
    composed = copy.deepcopy(_composed(name))
    for override in overrides:
        key, _, value = override.lstrip("~+").partition("=")
        *path, last = key.split(".")
        section = composed
        for part in path:
            section = section[part]
        if override.startswith("~"):
            del section[last]
        elif override.startswith("++"):
            section[last].update(OmegaConf.to_container(OmegaConf.create(value)))
        else:
            section[last] = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))["value"]
    return build_config(composed)


@cache
def _composed(name):
    ConfigStore.instance().store(name="schema", node=toedit.config.Config)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        composed = compose("config", overrides=["stage=theory", f"theory={name}"])
    return OmegaConf.to_container(composed, resolve=True)


def built(name, tmp_path, *overrides):
    config = configured(name, *TINY[name], *overrides, f"artifacts={tmp_path / 'artifacts'}")
    artifact = plan(config)
    artifact.ensure()
    with (artifact.path / "data.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return config, artifact, rows


@pytest.mark.parametrize("name", TINY)
def test_every_study_leaves_its_table_its_numbers_and_its_picture(name, tmp_path, capsys):
    config, artifact, rows = built(name, tmp_path)
    there = {file.name for file in artifact.path.iterdir()}
    assert {"table.md", "table.tex", "data.csv", "summary.json"} <= there
    assert {f"{name}.png", f"{name}.pdf", f"{name}.svg"} <= there
    summary = json.loads((artifact.path / "summary.json").read_text())
    assert summary["theory"] == name and summary["settings"]["seed"] == 0
    assert "nan" not in (artifact.path / "table.md").read_text().lower()
    for row in rows:
        numbers = [float(row[key]) for key in ("value", "low", "high", "p_1") if row.get(key)]
        assert numbers and all(map(math.isfinite, numbers)), row
    report(config, artifact)
    shown = capsys.readouterr().out
    assert summary["table"]["title"] in shown and f"{name}.png" in shown


def test_all_studies_of_this_model_are_known_to_the_stage():
    ours = {name for name, module in _MODULES.items() if module.startswith("analysis.theory.next_token.")}
    assert ours == set(TINY)


def test_panels_follow_counts_and_squared_norms(tmp_path):
    _, _, rows = built(
        "partially_synthetic", tmp_path, "theory.next_token.n=5", "theory.next_token.squared_norms=[0.05,0.3]"
    )
    assert {row["panel"] for row in rows} == {"S_0=0.05, n = 5", "S_0=0.3, n = 5"}
    first = {row["series"]: float(row["value"]) for row in rows if row["panel"] == "S_0=0.3, n = 5"}
    assert {"simulated", "corrected", "published", "gaussian", "bound"} == set(first)


def test_the_seed_is_in_the_identity(tmp_path):
    one, other = (plan(configured("windows", *TINY["windows"], f"theory.seed={seed}")) for seed in (0, 1))
    assert one.fingerprint != other.fingerprint


def test_what_is_not_read_is_not_in_the_identity():
    one, other = (plan(configured("simplex", *TINY["simplex"], f"theory.next_token.N={count}")) for count in (10, 20))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("name", "overrides", "key"),
    [
        ("collapse_time", ["theory.next_token.n=[10,5000]"], "theory.next_token.n=5000: the exact chain"),
        ("dirac_probability", ["theory.next_token.n=2001"], "theory.next_token.n=2001: the exact chain"),
        ("windows", ["theory.next_token.windows=[4]"], "theory.next_token.windows=4: "),
        ("windows", ["theory.next_token.n=[10,20]"], "theory.next_token.n=[10, 20]: "),
        ("windows", ["theory.next_token.laws.zipf.support=1"], "theory.next_token.laws.zipf.support=1: "),
        ("windows", ["++theory.next_token.laws={b: {tokens: 5}}"], "theory.next_token.laws=['zipf', 'b']: "),
        ("partially_synthetic", ["theory.generations=0"], "theory.generations=0: "),
        ("partially_synthetic", ["theory.next_token.N=many"], "theory.next_token.N=many: "),
        ("partially_synthetic", ["theory.next_token.squared_norms=[1.5]"], "theory.next_token.squared_norms=1.5: "),
        ("partially_synthetic", ["~theory.next_token.laws.zipf"], "theory.next_token.laws={}: "),
        ("simplex", ["theory.next_token.laws.random.tokens=4"], "theory.next_token.laws.random.tokens=4: "),
        ("simplex", ["theory.next_token.n=80"], "theory.next_token.n=80: "),
        ("safe_amount", ["theory.next_token.epsilons=[0]"], "theory.next_token.epsilons=[0]: "),
        ("token_editing", ["theory.next_token.editing.threshold=1.5"], "theory.next_token.editing.threshold=1.5: "),
    ],
)
def test_bad_settings_are_one_line_that_names_the_key(name, overrides, key):
    with pytest.raises(BadConfiguration) as refused:
        plan(configured(name, *overrides))
    assert str(refused.value).startswith(key) and "\n" not in str(refused.value)


def test_the_command(tmp_path):
    """One whole command, again from the cache, and one that is refused."""
    arguments = ("stage=theory", "theory=dirac_probability", *TINY["dirac_probability"])
    run = run_command(*arguments, cwd=tmp_path)
    assert "Probability that fully synthetic training has collapsed" in run.stdout and "written: " in run.stdout
    refused = run_command("stage=theory", "theory=windows", "theory.next_token.n=0", cwd=tmp_path, expect=2)
    assert refused.stderr.splitlines() == ["error: theory.next_token.n=0: must be at least 1"]


def test_where_a_drift_crosses_epsilon():
    count_G, drift_G = np.array([1.0, 10.0, 100.0]), np.array([0.1, 0.2, 0.3])
    drift = Mean(drift_G, drift_G - 0.05, drift_G + 0.05, np.full(3, 0.025))
    n, low, high = _crossing(count_G, drift, 0.2)
    assert (n, low, high) == pytest.approx((10, 10**0.5, 10**1.5))
    assert _crossing(count_G, drift, 0.4)[0] == math.inf
    assert _crossing(count_G, drift, 0.01)[0] == 0
