"""What a stranger's files must not do: run code, leave the output folder, reach the network, learn a secret."""

import ast
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, repetitive_documents, run_command, write_jsonl

PACKAGES = ("toedit", "pretrain", "continual_pretrain", "sft", "eval", "analysis")
ALLOWED = {
    # olmo-core's own note on a checkpoint that this very process has just written
    ("pretrain/olmo_callback.py", "pickle.loads"),
    # what actors of a Ray cluster and this command send each other; never a file
    ("toedit/executors/ray_cluster.py", "pickle.loads"),
    # a program that a model wrote, inside the sandbox of eval=code, behind eval.execute_code
    ("eval/code_sandbox.py", "exec"),
}
SECRET = "hf_notForAnybodysEyes"


def source_files() -> list[Path]:
    return [REPOSITORY / "run.py", *(file for name in PACKAGES for file in sorted((REPOSITORY / name).rglob("*.py")))]


def calls(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


def test_no_call_runs_what_a_file_says():
    """Pickles, shells, Python from strings, YAML objects, archives that may leave their folder."""
    found = set()
    for file in source_files():
        name = file.relative_to(REPOSITORY).as_posix()
        for call, words in calls(ast.parse(file.read_text(encoding="utf-8"))):
            unsafe = (
                call
                in ("pickle.load", "pickle.loads", "dill.load", "joblib.load", "os.system", "os.popen", "eval", "exec")
                or (call == "torch.load" and words.get("weights_only") != "True")
                or words.get("shell") == "True"
                or (call in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"))
                or (call == "np.load" and words.get("allow_pickle") == "True")
                or (call.endswith(".extractall") and "data" not in words.get("filter", ""))
                or (words.get("trust_remote_code") == "True")
            )
            if unsafe:
                found.add((name, call))
    assert found == ALLOWED, found ^ ALLOWED


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def refused(*arguments, cwd):
    run = subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == 2 and len(errors) == 1 and "Traceback" not in run.stderr, run.stdout + run.stderr
    return errors[0]


@pytest.mark.parametrize("key", ["prior", "base", "checkpoint"])
def test_a_pickle_in_a_model_folder_is_not_opened(key, small_prior, corpus_file, tmp_path):
    model = shutil.copytree(small_prior, tmp_path / "model")
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Touch(tmp_path / "touched")}))
    command = {
        "prior": ["stage=score", "corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={model}"],
        "base": ["stage=continual_pretrain", "corpus=local", f"corpus.path={corpus_file}", f"base.path={model}",
                 "recipe.steps=1", "recipe.sequence_length=16"],
        "checkpoint": ["stage=eval", f"eval.sets={corpus_file}", f"checkpoint.path={model}"],
    }[key]  # fmt: skip
    line = refused(*command, cwd=tmp_path)
    assert str(model) in line and not (tmp_path / "touched").exists()


@pytest.mark.parametrize("key", ["prior", "base", "checkpoint"])
def test_python_that_comes_with_a_model_is_not_run(key, small_prior, corpus_file, tmp_path):
    model = shutil.copytree(small_prior, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    places = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (model / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": places}))
    (model / "own.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    command = {
        "prior": ["stage=score", "corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={model}"],
        "base": ["stage=continual_pretrain", "corpus=local", f"corpus.path={corpus_file}", f"base.path={model}",
                 "recipe.steps=1", "recipe.sequence_length=16"],
        "checkpoint": ["stage=eval", f"eval.sets={corpus_file}", f"checkpoint.path={model}"],
    }[key]  # fmt: skip
    refused(*command, cwd=tmp_path)
    assert not (tmp_path / "touched").exists()


def test_ids_and_sources_stay_in_the_output_folder(small_prior, tmp_path):
    odd = ["../../outside", "/tmp/outside", "..", "a/../../b", "~/x", "$(touch outside)", "`touch outside`", "a\x00b"]
    documents = [
        {**document, "id": id, "source": id} for document, id in zip(repetitive_documents(len(odd)), odd, strict=True)
    ]
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    write_jsonl(inside / "odd.jsonl", documents)
    before = {path for path in tmp_path.rglob("*") if inside not in path.parents}
    run_command("stage=diff", "corpus=local", "corpus.path=odd.jsonl", "prior=local", f"prior.path={small_prior}",
                "edit.p=0.9", "edit.temperature=3", "diff.documents=8", cwd=inside)  # fmt: skip
    assert {path for path in tmp_path.rglob("*") if inside not in path.parents} == before
    assert not list(inside.rglob("outside"))


def in_a_machine_without_network(command, cwd, **environment):
    """The command in a network namespace that has not even a loopback; None where none can be made."""
    inside = ["unshare", "--net", "--map-root-user"]
    try:
        if subprocess.run([*inside, "true"], capture_output=True, timeout=20).returncode:
            return None
    except OSError:
        return None
    return subprocess.run([*inside, *command], cwd=cwd, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})  # fmt: skip


def test_an_edit_needs_no_network_and_keeps_no_secret(small_prior, corpus_file, tmp_path):
    command = [sys.executable, str(REPOSITORY / "run.py"), "stage=edit", "corpus=local", f"corpus.path={corpus_file}",
               "prior=local", f"prior.path={small_prior}", "out=edited"]  # fmt: skip
    secrets = {"HF_TOKEN": SECRET, "WANDB_API_KEY": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    run = in_a_machine_without_network(command, tmp_path, **secrets)
    if run is None:  # then with the network, which it may still not want
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **secrets})
    assert run.returncode == 0, run.stderr
    assert SECRET not in run.stdout + run.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path
