"""trainer=llamafactory without LLaMA-Factory: what is planned, written and refused. test_zz_llamafactory.py runs it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers
from llamafactory_fixtures import build_base, changed, configure, local, plan, texts_file

from pretrain import llamafactory, tether
from pretrain.llamafactory_environment import find, interpreter, read_templates
from pretrain.llamafactory_run import last_step, what_stopped
from pretrain.llamafactory_tokenizer import end_of_text, read_tokenizer
from toedit.config import TrainerConfig
from toedit.errors import BadConfiguration, Interrupted, ToEditError, UnusableInput


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return texts_file(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def plain_config():
    return configure("pt", Path("artifacts"), None)


@pytest.fixture
def fake_environment(tmp_path, monkeypatch):
    """A folder that looks like the environment; its Python answers what the test says."""
    folder = tmp_path / "environment"

    def answer(versions: dict, package: str | None = "/package", code: int = 0) -> Path:
        python = folder / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        said = json.dumps({"versions": versions, "folder": package})
        python.write_text(f"#!/bin/sh\necho '{said}'\necho broken >&2\nexit {code}\n")
        python.chmod(0o755)
        return python

    monkeypatch.setenv("TOEDIT_LLAMAFACTORY_VENV", str(folder))
    answer({"llamafactory": "0.9.5"})
    return answer


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "overrides", "parts"),
    [
        ("pt", ["recipe.warmup_start_share=0.5"], ["recipe.warmup_start_share=0.5", "starts at 0"]),
        ("pt", ["recipe.warmup_share=1"], ["recipe.warmup_share=1"]),
        ("pt", ["recipe.decay_embeddings=false"], ["recipe.decay_embeddings=false", "recipe.weight_decay=0"]),
        ("pt", ["trainer.loss_rows=64"], ["trainer.loss_rows=64", "trainer.micro_batch_sequences"]),
        ("pt", ["trainer.nproc=3"], ["trainer.nproc=3", "recipe.batch_sequences=16"]),
        ("pt", ["validation_tokens.path=held-out"], ["validation_tokens.path=held-out", "stage=eval"]),
        ("pt", ["recipe.sequence_length=2048"], ["recipe.sequence_length=2048", "at most 1024"]),
        ("pt", ["llamafactory.sharding=deepspeed"], ["llamafactory.sharding=deepspeed", "without a GPU"]),
        ("pt", ["llamafactory.sharding=zero"], ["llamafactory.sharding=zero"]),
        ("pt", ["+llamafactory.settings.output_dir=x"], ["llamafactory.settings.output_dir", "use out"]),
        ("pt", ["+llamafactory.settings.stage=dpo"], ["llamafactory.settings.stage"]),
        ("pt", ["+llamafactory.settings.learning_rate=1"], ["llamafactory.settings.learning_rate", "recipe.learning_"]),
        ("sft", ["recipe.sequence_length=100"], ["recipe.sequence_length=100", "multiple of 8", "sft.packing"]),
        ("pt", ["base.optimizer=kept"], ["base.optimizer=kept"]),
        ("sft", ["sft.validation_split=test"], ["sft.validation_split=test", "stage=eval"]),
        ("sft", ["sft.on_long=drop"], ["sft.on_long=drop", "trainer=fsdp"]),
    ],
)
def test_what_llamafactory_cannot_do_is_refused_in_one_line(fake_environment, base, texts, tmp_path, method, overrides,
                                                            parts):  # fmt: skip
    with pytest.raises(BadConfiguration) as caught:
        plan(configure(method, tmp_path, base, *local(texts), *overrides), method)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_settings_of_all_weights_do_not_bind_an_adapter(fake_environment, base, texts, tmp_path):
    keys = ("adapter=lora", "recipe.decay_embeddings=false", "recipe.weight_decay=0.1")
    assert plan(configure("pt", tmp_path, base, *local(texts), *keys), "pt").identity["adapter"]["rank"] == 8


def test_a_missing_environment_is_one_line_with_the_command_that_makes_it(base, texts, tmp_path, monkeypatch):
    monkeypatch.setenv("TOEDIT_LLAMAFACTORY_VENV", str(tmp_path / "nowhere"))
    config = configure("pt", tmp_path, base, *local(texts))
    with pytest.raises(BadConfiguration, match=r"bash scripts/environment_llamafactory\.sh"):
        plan(config, "pt")
    assert not (tmp_path / "corpus").exists(), "it is looked for before anything is made"
    config.dry_run = True
    assert plan(config, "pt").state() == "to build"


@pytest.mark.parametrize(
    ("versions", "code", "part"),
    [
        ({"llamafactory": "0.9.4"}, 0, "has LLaMA-Factory 0.9.4; tested is 0.9.5"),
        ({"llamafactory": "1.0.0"}, 0, "has LLaMA-Factory 1.0.0"),
        ({}, 0, "has no LLaMA-Factory"),
        ({"llamafactory": "0.9.5"}, 1, "does not run (broken)"),
    ],
)
def test_another_version_is_refused(fake_environment, versions, code, part):
    fake_environment(versions, code=code)
    with pytest.raises(BadConfiguration) as caught:
        find(TrainerConfig())
    assert part in str(caught.value)
    assert "environment_llamafactory.sh" in str(caught.value)


def test_several_ranks_without_a_gpu_do_not_resume(fake_environment, plain_config):
    config = changed(plain_config, **{"trainer.nproc": 2})
    llamafactory._require_environment(config, find(TrainerConfig()), 0)
    with pytest.raises(BadConfiguration, match=r"trainer\.nproc=1 goes on at step 1,500"):
        llamafactory._require_environment(config, find(TrainerConfig()), 1500)


def test_deepspeed_is_not_part_of_the_environment(fake_environment, plain_config):
    config = changed(plain_config, **{"llamafactory.sharding": "deepspeed", "trainer.device": "cuda"})
    with pytest.raises(BadConfiguration, match="-m pip install deepspeed"):
        llamafactory._require_environment(config, find(TrainerConfig()), 0)


def test_the_python_can_be_named(fake_environment, tmp_path):
    python = fake_environment({"llamafactory": "0.9.5"})
    assert interpreter(TrainerConfig(python=str(python))) == python
    assert find(TrainerConfig()).command == str(python.parent / "llamafactory-cli")


def test_code_of_the_model_runs_only_where_it_is_allowed(fake_environment, texts, tmp_path):
    folder = build_base(tmp_path / "odd")
    held = json.loads((folder / "config.json").read_text())
    held |= {"model_type": "unheard_of", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps(held))
    with pytest.raises(BadConfiguration, match=r"base\.trust_remote_code=true"):
        plan(configure("pt", tmp_path, folder, *local(texts)), "pt")
    plan(configure("pt", tmp_path, folder, *local(texts), "base.trust_remote_code=true"), "pt")


# --- identity ---------------------------------------------------------------------------------------------------------


def test_how_it_is_run_is_no_part_of_the_identity(fake_environment, base, texts, tmp_path):
    config = configure("pt", tmp_path, base, *local(texts))

    def fingerprint(method: str, **values: object) -> str:
        return plan(changed(config, **values), method).fingerprint

    plain, sft = fingerprint("pt"), fingerprint("sft")
    for same in (
        {"trainer.nproc": 2},
        {"trainer.micro_batch_sequences": 2},
        {"llamafactory.sharding": "fsdp", "trainer.device": "cuda"},
        {"trainer.log_every": 7},
        {"adapter.rank": 4},
        {"sft.template": "llama3"},
    ):
        assert fingerprint("pt", **same) == plain, same
    assert fingerprint("sft", **{"sft.source": "edited"}) == sft, "the corpus says it"
    others = ({"adapter.kind": "lora"}, {"recipe.seed": 7}, {"llamafactory.settings": {"flash_attn": "disabled"}},
              {"adapter.kind": "lora", "adapter.rank": 4})  # fmt: skip
    assert len({plain, *(fingerprint("pt", **keys) for keys in others)}) == 5
    others = ({"sft.template": "default"}, {"sft.packing": False})
    assert len({plain, sft, *(fingerprint("sft", **keys) for keys in others)}) == 4


# --- templates --------------------------------------------------------------------------------------------------------


def test_templates_are_read_from_source(tmp_path):
    source = tmp_path / "template.py"
    source.write_text("""
register_template(name="plain", format_user=F(slots=["ask {{content}}"]))
register_template(name="ends", format_user=F(slots=["{{content}}<e>"]), stop_words=["<e>", "<no>"], replace_eos=True)
register_template(name="named", format_user=F(slots=[{"token": "<|user|>"}, "{{content}}"]), stop_words=["<|user|>"])
""")  # fmt: skip
    templates = read_templates(source)
    assert [(t.name, t.tokens, t.end) for t in templates.values()] == [
        ("plain", (), None), ("ends", ("<e>",), "<e>"), ("named", ("<|user|>",), None),
    ]  # fmt: skip


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "log", "kind", "part"),
    [
        (1, "noise\nTraceback …\nValueError: no such template.\n", UnusableInput, "ValueError: no such template."),
        (1, "[rank1]: torch.OutOfMemoryError: too big.\nx.ChildFailedError: \nx.CalledProcessError: it ended\n",
            UnusableInput, "torch.OutOfMemoryError: too big."),
        (3, "nothing to see\n", UnusableInput, "exit code 3"),
        (255, "", UnusableInput, "exit code 255"),
        (137, "", Interrupted, "SIGKILL"),
    ],
)  # fmt: skip
def test_the_frameworks_own_error_becomes_one_line(tmp_path, code, log, kind, part):
    path = tmp_path / "train.log"
    path.write_text("OldError: of an earlier run\n" + log)
    error = what_stopped(code, path, len("OldError: of an earlier run\n"))
    assert type(error) is kind
    assert part in str(error)
    assert str(path) in str(error)
    assert "\n" not in str(error)


def test_a_training_goes_on_at_the_last_complete_checkpoint(tmp_path):
    for step, complete in ((5, True), (10, True), (15, False)):
        folder = tmp_path / "output" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "trainer_state.json").write_text("{}")
    assert last_step(tmp_path) == 10
    assert last_step(tmp_path / "nothing") == 0


@pytest.mark.parametrize("files", ["all", "no settings", "old settings"])
def test_a_tokenizer_is_the_same_from_its_files_and_from_transformers(base, tmp_path, files):
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    held = json.loads((folder / "tokenizer_config.json").read_text())
    if files == "no settings":
        held.pop("eos_token")
    elif files == "old settings":
        held |= {"eos_token": {"__type": "AddedToken", "content": held["eos_token"]}, "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(held))
    tokenizer, theirs = read_tokenizer(folder, False), transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.end == theirs.eos_token
    assert tokenizer.writes_turns == (theirs.chat_template is not None)
    for token in (*list(theirs.get_vocab())[:50], "<|eot_id|>", "never heard of"):
        assert tokenizer.has(token) == (token in theirs.get_vocab())


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_the_command_ends_with_its_starter(tmp_path, end):
    """The starter is killed, or closes its end; the command's own child ends, too."""
    pids = tmp_path / "pids"
    command = f"sleep 100 & echo $! > {pids}; wait"
    starter = f"""
import subprocess, sys, time
process = subprocess.Popen([sys.executable, {tether.__file__!r}, "bash", "-c", {command!r}], stdin=subprocess.PIPE,
                           start_new_session=True)
{"time.sleep(100)" if end else "sys.stdin.readline()"}
"""
    process = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (pids.exists() and pids.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int(pids.read_text())
    if end:
        process.send_signal(end)
    else:
        process.communicate(b"\n")
    process.wait()
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.02)


def test_the_command_reports_how_it_ended():
    def code(*command: str) -> int:
        run = [sys.executable, str(tether.__file__), *command]
        with subprocess.Popen(run, stdin=subprocess.PIPE, start_new_session=True) as process:
            return process.wait()

    assert code("bash", "-c", "exit 7") == 7
    assert code("bash", "-c", "kill -9 $$") == 128 + signal.SIGKILL


def test_a_template_must_be_one_that_the_tokenizer_can_write(fake_environment, base, tmp_path):
    package = tmp_path / "package" / "data"
    package.mkdir(parents=True)
    (package / "template.py").write_text("""
register_template(name="alpaca", format_user=F(slots=["{{content}}"]))
register_template(name="llama3", format_user=F(slots=["{{content}}<|eot_id|>"]), stop_words=["<|eot_id|>"],
                  replace_eos=True)
""")  # fmt: skip
    fake_environment({"llamafactory": "0.9.5"}, str(tmp_path / "package"))
    environment = find(TrainerConfig())

    def end(method: str, *overrides: str) -> str | None:
        return end_of_text(base, configure(method, tmp_path, base, *overrides), method, environment)

    assert end("sft") is None
    assert end("pt", "sft.template=whatever") is None
    assert end("sft", "sft.template=llama3", "+llamafactory.settings.resize_vocab=true") == "<|eot_id|>"
    for template, part in (
        ("llama3", "has no <|eot_id|>"),
        ("lama3", "did you mean 'llama3'"),
        ("chat", "no template"),
    ):
        with pytest.raises(ToEditError) as caught:
            end("sft", f"sft.template={template}")
        assert f"sft.template={template}" in str(caught.value)
        assert part in str(caught.value)
