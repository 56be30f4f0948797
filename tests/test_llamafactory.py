"""trainer=llamafactory without LLaMA-Factory: what is planned, written and refused. test_zz_llamafactory.py runs it."""

import json
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_fixtures import alpaca_rows, responses_of, sharegpt_rows, write_array
from llamafactory_fixtures import build_base, configure, local, plan, texts_file
from omegaconf import OmegaConf

from pretrain import llamafactory, tether
from pretrain.llamafactory_data import Written, read_columns, unreadable, write_data
from pretrain.llamafactory_environment import find, interpreter, read_templates
from pretrain.llamafactory_files import OURS, export_settings, train_settings, write_settings
from pretrain.llamafactory_run import last_step, what_stopped
from toedit.config import Config, TrainerConfig
from toedit.corpora import plan_corpus
from toedit.errors import BadConfiguration, Interrupted, ToEditError, UnusableInput
from toedit.priors import plan_model
from toedit.workspace import Workspace


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return texts_file(tmp_path_factory.mktemp("texts"))


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
        ("pt", ["llamafactory.sharding=deepspeed"], ["llamafactory.sharding=deepspeed", "fsdp"]),
        ("pt", ["llamafactory.sharding=zero"], ["llamafactory.sharding=zero"]),
        ("pt", ["+llamafactory.settings.output_dir=x"], ["llamafactory.settings.output_dir", "use out"]),
        ("pt", ["+llamafactory.settings.stage=dpo"], ["llamafactory.settings.stage"]),
        ("pt", ["+llamafactory.settings.learning_rate=1"], ["llamafactory.settings.learning_rate", "recipe.learning_"]),
        ("sft", ["recipe.sequence_length=100"], ["recipe.sequence_length=100", "multiple of 8", "sft.packing"]),
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


def test_the_python_can_be_named(fake_environment, tmp_path):
    python = fake_environment({"llamafactory": "0.9.5"})
    assert interpreter(TrainerConfig(python=str(python))) == python
    assert find(TrainerConfig()).command == str(python.parent / "llamafactory-cli")


def test_an_adapter_is_no_base(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/base"}))
    with pytest.raises(UnusableInput, match=r"base.path=.*adapter of someone/base"):
        plan_model(str(folder), "base.path", tmp_path)


def test_code_of_the_model_runs_only_where_it_is_allowed(fake_environment, texts, tmp_path):
    folder = build_base(tmp_path / "odd")
    held = json.loads((folder / "config.json").read_text())
    held |= {"model_type": "unheard_of", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps(held))
    with pytest.raises(BadConfiguration, match=r"base\.trust_remote_code=true"):
        plan(configure("pt", tmp_path, folder, *local(texts)), "pt")
    plan(configure("pt", tmp_path, folder, *local(texts), "base.trust_remote_code=true"), "pt")


# --- identity ---------------------------------------------------------------------------------------------------------


def changed(config: Config, **values: object) -> Config:
    """A copy with other values, by dotted key."""
    copy = deepcopy(config)
    for key, value in values.items():
        section, name = key.split(".")
        setattr(getattr(copy, section), name, value)
    return copy


def test_how_it_is_run_is_no_part_of_the_identity(fake_environment, base, texts, tmp_path):
    config = configure("pt", tmp_path, base, *local(texts))

    def fingerprint(method: str, **values: object) -> str:
        return plan(changed(config, **values), method).fingerprint

    plain, sft = fingerprint("pt"), fingerprint("sft")
    for same in ({"trainer.nproc": 2}, {"trainer.micro_batch_sequences": 2}, {"llamafactory.sharding": "fsdp"},
                 {"trainer.log_every": 7}, {"adapter.rank": 4}, {"sft.template": "llama3"}):  # fmt: skip
        assert fingerprint("pt", **same) == plain, same
    assert fingerprint("sft", **{"sft.source": "edited"}) == sft, "the corpus says it"
    others = ({"adapter.kind": "lora"}, {"recipe.seed": 7}, {"llamafactory.settings": {"flash_attn": "disabled"}},
              {"adapter.kind": "lora", "adapter.rank": 4})  # fmt: skip
    assert len({plain, *(fingerprint("pt", **keys) for keys in others)}) == 5
    others = ({"sft.template": "default"}, {"sft.packing": False})
    assert len({plain, sft, *(fingerprint("sft", **keys) for keys in others)}) == 4


# --- files ------------------------------------------------------------------------------------------------------------

_VARIANTS = [
    ("pt", []),
    ("pt", ["adapter=lora", "recipe.warmup_share=0.1", "recipe.final_learning_rate_share=0"]),
    ("pt", ["recipe.steps=7", "trainer.nproc=2", "llamafactory.sharding=fsdp", "trainer.deterministic=true"]),
    ("sft", ["adapter=lora", "sft.template=llama3", "trainer.compile=true"]),
    ("sft", ["sft.template=chat", "sft.packing=false", "+llamafactory.settings.flash_attn=sdpa"]),
    ("sft", ["llamafactory.sharding=deepspeed", "trainer.device=auto", "trainer.nproc=2"]),
]


@pytest.mark.parametrize(("method", "overrides"), _VARIANTS)
def test_yaml_holds_what_was_asked_and_no_key_can_be_set_twice(base, tmp_path, method, overrides):
    config = configure(method, tmp_path, base, *overrides)
    folder = tmp_path / "odd ${seed} é" / "llamafactory"
    folder.mkdir(parents=True)
    write_settings(folder, base, config, method, use_cpu=True)
    written = OmegaConf.to_container(OmegaConf.load(folder / "train.yaml"), resolve=True)
    assert written == train_settings(folder, base, config, method, use_cpu=True)
    assert written["output_dir"] == str(folder / "output")
    assert written.keys() - OURS.keys() == config.llamafactory.settings.keys()
    assert ("packing" in written) == (method == "sft"), "asked for packing, stage pt would lose a token a sequence"
    assert (folder / "export.yaml").exists() == (config.adapter.kind == "lora")
    head = (folder / "train.yaml").read_text().splitlines()[:2]
    assert head[1].endswith(f"llamafactory-cli train {folder / 'train.yaml'}")
    if config.llamafactory.sharding == "deepspeed":
        assert json.loads(Path(written["deepspeed"]).read_text())["zero_optimization"]["stage"] == 3
        assert "FORCE_TORCHRUN=1 NPROC_PER_NODE=2" in head[1]


@pytest.fixture(scope="module")
def plain_config():
    return configure("pt", Path("artifacts"), None)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 5))
def test_the_batch_is_the_recipes_on_any_number_of_ranks(plain_config, passes, micro, ranks):
    config = changed(plain_config, **{"recipe.batch_sequences": passes * micro * ranks, "trainer.nproc": ranks,
                                      "trainer.micro_batch_sequences": micro})  # fmt: skip
    written = train_settings(Path("/f"), Path("/b"), config, "pt", use_cpu=True)
    parts = written["per_device_train_batch_size"], written["gradient_accumulation_steps"], ranks
    assert parts[0] * parts[1] * parts[2] == config.recipe.batch_sequences
    assert parts[0] <= micro


@pytest.mark.parametrize(("held", "wanted"), [("bfloat16", "bfloat16"), (None, "float32"), ("float8", "float32")])
def test_the_merged_model_keeps_the_bases_precision(tmp_path, held, wanted):
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": held}))
    config = configure("pt", tmp_path, tmp_path, "adapter=lora")
    assert export_settings(tmp_path / "llamafactory", tmp_path, config, "pt")["infer_dtype"] == wanted


def written_data(tmp_path: Path, method: str, rows: Path, layout: str | None = None, on_bad_row: str = "reject"):
    """(what write_data says, the rows it wrote, dataset_info) for a file of rows."""
    config = configure(method, tmp_path, None, *local(rows, layout))
    corpus = plan_corpus(config.corpus, tmp_path).ensure()
    workspace = Workspace(tmp_path / "checkpoint", {"corpus": corpus})
    said = write_data(workspace, method, on_bad_row)
    folder = tmp_path / "checkpoint" / "llamafactory"
    lines = (folder / "data.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert write_data(workspace, method, on_bad_row) == said, "a second run writes nothing again"
    return said, [json.loads(line) for line in lines], json.loads((folder / "dataset_info.json").read_text())["corpus"]


def test_texts_are_written_as_they_are(tmp_path):
    odd = ["plain", 'quotes " and \\ back', "line\nbreaks\r\n\u2028", "Zoë 🙂 \x00", "<s> </s> [INST]"]
    rows = write_jsonl(tmp_path / "odd.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(odd)])
    said, written, info = written_data(tmp_path, "pt", rows)
    assert [row["text"] for row in written] == odd
    assert said == Written(len(odd), 0)
    assert info == {"file_name": "data.jsonl", "columns": {"prompt": "text"}}


def test_alpaca_rows_keep_their_layout_and_only_what_is_read(tmp_path):
    rows = alpaca_rows()
    said, written, info = written_data(tmp_path, "sft", write_array(tmp_path / "rows.json", rows), "alpaca")
    assert said == Written(len(rows), 0)
    assert info["columns"] == {"prompt": "instruction", "query": "input", "response": "output", "system": "system",
                               "history": "history"}  # fmt: skip
    # The one with earlier turns comes first: the framework takes the type of a column from the first rows.
    order = [3, *(number for number in range(len(rows)) if number != 3)]
    for number, row in zip(order, written, strict=True):
        assert row == {"instruction": rows[number]["instruction"], "input": rows[number]["input"],
                       "output": rows[number]["output"], "system": rows[number].get("system", ""),
                       "history": rows[number].get("history", [])}  # fmt: skip


def test_conversations_keep_their_turns_and_calls_that_cannot_be_parsed_are_listed(tmp_path):
    rows = sharegpt_rows()
    good = [row for row in rows if all(turn["from"] != "function_call" for turn in row["conversations"])]
    assert 0 < len(good) < len(rows)
    said, written, info = written_data(tmp_path, "sft", write_array(tmp_path / "rows.json", rows), "sharegpt")
    assert said == Written(len(good), len(rows) - len(good))
    assert [responses_of(row) for row in written] == [responses_of(row) for row in good]
    assert all(turn.keys() == {"from", "value"} for row in written for turn in row["conversations"])
    assert info["formatting"] == "sharegpt"
    listed = (tmp_path / "checkpoint/llamafactory/rejected.jsonl").read_text().splitlines()
    assert len(listed) == said.left_out
    assert "calls a tool" in json.loads(listed[0])["reason"]


def test_strict_users_are_stopped_by_the_first_bad_row(tmp_path):
    rows = write_array(tmp_path / "rows.json", sharegpt_rows())
    with pytest.raises(UnusableInput, match=r"document 'row 0'.*calls a tool"):
        written_data(tmp_path, "sft", rows, "sharegpt", "stop")


def test_a_corpus_without_instruction_rows_is_refused(tmp_path, texts):
    with pytest.raises(UnusableInput, match=r"no instruction rows; stage=sft wants corpus\.layout=alpaca"):
        written_data(tmp_path, "sft", texts)


def test_tools_become_json_and_a_call_is_checked_as_the_framework_parses_it():
    tags = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
            "function_tag": "call"}  # fmt: skip
    layout = {"columns": {"messages": "turns", "tools": "tools"}, "tags": tags}

    def row(call: str, tools: object = "") -> dict:
        return {"turns": [{"from": "human", "value": "x"}, {"from": "call", "value": call}], "tools": tools}

    good = '{"name": "f", "arguments": {}}'
    assert read_columns(row(good, [{"name": "f"}]), layout)["tools"] == '[{"name": "f"}]'
    for call in (good, f"[{good}, {good}]", f"<think>why</think>{good}"):
        assert unreadable(row(call), layout) is None
    for call in ('{"name": "f"}', "f()", f"[{good}, 1]", "null"):
        assert "turn 2" in (unreadable(row(call), layout) or "")
    assert unreadable(row(good, "no json"), layout) == "tools are not JSON"


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
        return llamafactory.end_of_text(base, configure(method, tmp_path, base, *overrides), method, environment)

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
