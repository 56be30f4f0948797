"""The command line as a user meets it: the table of stages, strict keys, one-line errors, exit codes."""

import ast
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY, run_command
from omegaconf import OmegaConf

import toedit.config
from toedit.command import all_keys, build_config, explain, unknown_key
from toedit.errors import BadConfiguration
from toedit.sweeps import begin_sweep, close_sweep, write_point


def error_line(*arguments, cwd, expect, **environment):
    """The only line on stderr that is an error; there must be no traceback."""
    run = run_command(*arguments, cwd=cwd, expect=expect, **environment)
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, run.stderr
    return lines[0]


def test_the_table_of_stages_comes_at_once(tmp_path):
    started = time.monotonic()
    run = run_command(cwd=tmp_path)
    assert time.monotonic() - started < 5  # about 0.1 s on a quiet machine
    for stage in ("corpus", "prior", "score", "edit", "revert", "diff", "analyze"):
        assert re.search(
            rf"^  {stage} +reads .*\n +writes .*\n +e\.g\. +python run\.py stage={stage}", run.stdout, re.M
        )


def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path):
    import subprocess
    import sys

    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.argv = ['run.py']\n"
        "import run; run.main([])\n"
        "import toedit.stages.edit, toedit.editing, toedit.edit_corpus\n"
        "heavy = {'torch', 'transformers', 'datasets', 'matplotlib', 'pandas', 'vllm', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["stage=edit", "+edit.pp=1"], ["edit.pp", "did you mean edit.p?"]),
        (["stage=edit", "edit.pp=1"], ["edit.pp", "did you mean edit.p?"]),
        (["stage=edit", "+scoring.top_k=8"], ["scoring", "no such key"]),
        (["stage=edit", "++score.topk=8"], ["score.topk", "did you mean score.top_k?"]),
        (["stage=edti"], ["stage=edti", "did you mean edit?"]),
        (["stage=edit", "edit=paperr"], ["edit=paperr", "did you mean paper?"]),
        (["stage=edit", "edit.p=abc"], ["edit.p"]),
        (["stage=edit", "edit.p=0"], ["edit.p=0", "(0, 1]"]),
        (["stage=edit", "edit.p=1.5"], ["edit.p=1.5", "(0, 1]"]),
        (["stage=edit", "edit.k=0"], ["edit.k=0", "at least 1"]),
        (["stage=edit", "edit.temperature=-1"], ["edit.temperature=-1"]),
        (["stage=edit", "edit.k=65"], ["edit.k=65", "score.top_k=65"]),
        (["stage=edit", "edit.p=0.5"], ["edit.p=0.5", "score.min_p=0.5"]),
        (["stage=edit", "edit.sampler=topk"], ["edit.sampler=topk", "did you mean top_k?"]),
        (["stage=edit", "edit.tries=9"], ["edit.tries=9", "top_k does not read it"]),
        (["stage=edit", "edit=control_random_positions"], ["edit.sampler=random_positions", "score.min_p=0"]),
        (["stage=edit", "prior=local"], ["prior.path"]),
        (["stage=edit", "prior.corpus.on_bad_row=maybe"], ["prior.corpus.on_bad_row=maybe", "reject, stop"]),
        (["stage=edit", "edit.p="], ["edit.p"]),
        (["stage=edit", "edit"], ["edit"]),
        (["corpus=local"], ["stage", "edit"]),
    ],
)
def test_bad_configuration_is_one_line_that_names_the_key(arguments, parts, tmp_path):
    line = error_line(*arguments, cwd=tmp_path, expect=2)
    for part in parts:
        assert part in line


def test_missing_inputs_say_how_to_build_them(tmp_path):
    line = error_line("stage=edit", "scores.path=nowhere", cwd=tmp_path, expect=3)
    assert "nowhere" in line and "python run.py stage=score out=nowhere" in line
    line = error_line("stage=revert", "edited.path=nowhere", cwd=tmp_path, expect=3)
    assert "python run.py stage=edit out=nowhere" in line
    line = error_line("stage=edit", "prior=local", "prior.path=no-model", cwd=tmp_path, expect=3)
    assert "no-model" in line


def test_unusable_models_are_refused_before_any_work(tmp_path):
    (tmp_path / "model").mkdir()
    arguments = ["stage=edit", "prior=local", "prior.path=model"]
    assert "config.json" in error_line(*arguments, cwd=tmp_path, expect=2)
    (tmp_path / "model" / "config.json").write_text('{"vocab_size": 10}')
    assert "no weights" in error_line(*arguments, cwd=tmp_path, expect=2)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    assert "not a safetensors file" in error_line(*arguments, cwd=tmp_path, expect=2)
    (tmp_path / "model" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert "tokenizer" in error_line(*arguments, cwd=tmp_path, expect=2)
    (tmp_path / "file").write_text("x")
    assert "is a file" in error_line("stage=edit", "prior=local", "prior.path=file", cwd=tmp_path, expect=2)


def test_hub_models_offline_are_one_line(tmp_path):
    line = error_line("stage=prior", "prior=gpt2", cwd=tmp_path, expect=3, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert "openai-community/gpt2" in line and "prior=local" in line


def test_every_key_has_a_docstring():
    """A field without a docstring under it is a key that nobody can look up."""
    files = sorted(Path(toedit.config.__file__).parent.glob("*.py"))
    classes = [node for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 10
    for node in classes:
        body = [statement for statement in node.body if not isinstance(statement, ast.FunctionDef)][1:]
        for statement, following in zip(body[::2], body[1::2], strict=True):
            assert isinstance(statement, ast.AnnAssign), node.name
            assert isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant), statement.target.id


def test_every_shipped_configuration_composes():
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=toedit.config.Config)
    groups = sorted(folder for folder in (REPOSITORY / "configs").iterdir() if any(folder.glob("*.yaml")))
    choices = [(group.name, file.stem) for group in groups for file in sorted(group.glob("*.yaml"))]
    assert len(choices) > 15
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        for group, choice in choices:
            required = {("prior", "local"): ["prior.path=model"], ("corpus", "local"): ["corpus.path=texts"]}
            overrides = [f"{group}={choice}", *required.get((group, choice), [])]
            config = build_config(OmegaConf.to_container(compose("config", overrides=overrides), resolve=True))
            assert group == "family" or getattr(config, group) is not None  # a family only names scale=tiny's model
        for file in (REPOSITORY / "configs" / "hydra" / "launcher").glob("*.yaml"):
            with_launcher = [f"hydra/launcher={file.stem}", "hydra.launcher.ray.init.address=node0:6379"]
            hydra = compose("config", overrides=with_launcher, return_hydra_config=True).hydra
            assert hydra.launcher.ray.init.address == "node0:6379" and "_target_" in hydra.launcher
        # Keys and values meet: what config.yaml composes is exactly what the classes know.
        composed = compose("config")
    assert not set(all_keys()) ^ {key for key in all_keys() if OmegaConf.select(composed, key, default="?") != "?"}


CHOICES = {
    group: sorted(file.stem for file in (REPOSITORY / "configs" / group).glob("*.yaml"))
    for group in ("corpus", "prior", "edit")
}
CHOICES["corpus"].remove("synthetic_tiny")  # what the prior writes: analysis.other alone, in paper/ngrams


@pytest.mark.parametrize("choice", [f"{group}={choice}" for group, choices in CHOICES.items() for choice in choices])
def test_every_shipped_choice_dry_runs_without_network(choice, tmp_path, corpus_file, small_prior):
    own = {
        "corpus=local": [f"corpus.path={corpus_file}"],
        "prior=local": [f"prior.path={small_prior}"],
        "edit=control_random_positions": ["score.min_p=0"],
        "edit=control_low_probability": ["score.min_p=0"],
    }
    run = run_command("stage=edit", "dry_run=true", choice, *own.get(choice, []), cwd=tmp_path, HF_HOME=str(tmp_path))
    plan = [line.split()[0] for line in run.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert plan[-2:] == ["scores", "edited_corpus"] and "corpus" in plan
    assert "parameters" in run.stdout  # of the prior: hub models have theirs in the configuration
    assert not list((tmp_path / "artifacts").glob("*/*/documents"))


def test_a_sweep_does_not_pass_over_points_that_left_no_report(tmp_path, capsys):
    """As when a machine of a launcher's writes to a folder of its own."""
    for expected, absent in ((3, [0, 2]), (None, [0]), (0, None)):
        begin_sweep(tmp_path, expected)
        if expected != 0:
            write_point(tmp_path, 1, ["edit.k=4"], {}, None)
        code, said = close_sweep(), capsys.readouterr().err
        assert code == (0 if absent is None else 3) and (absent is None or f"no report of points {absent}" in said)


def test_a_sweep_joins_no_ray_cluster_that_nobody_named(tmp_path):
    for launcher in ("ray", "ray_cluster"):
        line = error_line("-m", f"hydra/launcher={launcher}", "stage=edit", cwd=tmp_path, expect=2)
        assert f"hydra/launcher={launcher}" in line and "hydra.launcher.ray.init.address=host:port" in line


def test_unknown_keys_suggest_the_nearest():
    assert unknown_key("edit.temprature").endswith("did you mean edit.temperature?")
    assert unknown_key("zzz") == "zzz: no such key"
    with pytest.raises(BadConfiguration, match=r"prior\.training\.stepz.*prior\.training\.steps"):
        build_config({"prior": {"training": {"stepz": 1}}})


def test_errors_of_the_configuration_library_become_one_line():
    assert "\n" not in explain(ValueError("first\nsecond"))


def test_a_hub_prior_in_the_cache_is_used_with_its_commit(small_prior, corpus_file, tmp_path):
    """The Hub's own cache layout, offline: what `hf download` leaves behind."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--openai-community--gpt2"
    shutil.copytree(small_prior, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    arguments = ["stage=edit", "corpus=local", f"corpus.path={corpus_file}", "prior=gpt2", "out=edited"]
    run_command(*arguments, cwd=tmp_path, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    manifest = json.loads((tmp_path / "edited" / "manifest.json").read_text())
    assert manifest["revisions"] == {"openai-community/gpt2": commit}
    assert manifest["inputs"]["prior"]["name"] == "gpt2"
