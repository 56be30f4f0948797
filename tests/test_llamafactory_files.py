"""The files that trainer=llamafactory writes: settings and data, without LLaMA-Factory."""

import json
from pathlib import Path

import pytest
from conftest import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_fixtures import alpaca_rows, responses_of, sharegpt_rows, write_array
from llamafactory_fixtures import build_base, changed, configure, local, texts_file
from omegaconf import OmegaConf

from pretrain.llamafactory_data import Written, read_columns, unreadable, write_data
from pretrain.llamafactory_files import OURS, export_settings, train_settings, write_settings
from toedit.corpora import plan_corpus
from toedit.errors import UnusableInput
from toedit.workspace import Workspace


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return texts_file(tmp_path_factory.mktemp("texts"))


# --- settings ---------------------------------------------------------------------------------------------------------

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
    assert written == train_settings(folder, base, config, method, use_cpu=True, data_bytes=0)
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
    written = train_settings(Path("/f"), Path("/b"), config, "pt", use_cpu=True, data_bytes=0)
    parts = written["per_device_train_batch_size"], written["gradient_accumulation_steps"], ranks
    assert parts[0] * parts[1] * parts[2] == config.recipe.batch_sequences
    assert parts[0] <= micro


def test_a_short_training_logs_every_step(plain_config):
    def steps_between(**values: object) -> int:
        config = changed(plain_config, **{"trainer.log_every": 10, **values})
        a_step = config.recipe.sequence_length * config.recipe.batch_sequences
        data_bytes = 4 * a_step * 100  # about a hundred steps an epoch
        return train_settings(Path("/f"), Path("/b"), config, "pt", True, data_bytes)["logging_steps"]

    assert steps_between() == 1
    assert steps_between(**{"recipe.epochs": 3.0}) == 10
    assert steps_between(**{"recipe.steps": 199}) == 1
    assert steps_between(**{"recipe.steps": 200}) == 10


@pytest.mark.parametrize(("held", "wanted"), [("bfloat16", "bfloat16"), (None, "float32"), ("float8", "float32")])
def test_the_merged_model_keeps_the_bases_precision(tmp_path, held, wanted):
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": held}))
    config = configure("pt", tmp_path, tmp_path, "adapter=lora")
    assert export_settings(tmp_path / "llamafactory", tmp_path, config, "pt")["infer_dtype"] == wanted


# --- data -------------------------------------------------------------------------------------------------------------


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
