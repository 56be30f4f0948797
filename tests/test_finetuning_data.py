"""Fine-tuning, its data: what of a conversation is learnt, how conversations share a sequence, what the loss is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from artifact_fixtures import tokenizer_definition
from conftest import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_fixtures import alpaca_rows, sharegpt_rows
from test_pretrain import compose
from tokenizers import Tokenizer
from tokenizers_fixture import require_test_data
from tokens_fixture import END, save_tokenizer

from pretrain.data import IGNORED
from pretrain.examples import ExampleSequences, pack
from pretrain.language_model import LanguageModel, self_check_packing
from sft.examples import plan_examples
from sft.templates import load_template
from toedit.config import TemplateConfig
from toedit.conversation import Turn, turns_of
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.instructions import record_of
from toedit.named_tokenizers import find_tokenizer
from toedit.workspace import read_manifest

ALPACA = compose().sft.templates["alpaca"]
SYSTEM = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tokenizer whose begin and end are one token, as GPT-2's."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, 300, ["### Instruction:\n### Response:\n The cat sat quietly on the mat."])
    return folder


def text_of(folder: Path, ids: list[int]) -> str:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).decode(ids, skip_special_tokens=False)


def learnt_of(folder: Path, example) -> str:
    return text_of(folder, [token for token, learnt in zip(*example, strict=True) if learnt])


def records(tmp_path: Path, layout: str, rows: list[dict]):
    config = compose(
        "corpus=local", f"corpus.path={write_jsonl(tmp_path / 'rows.jsonl', rows)}", f"corpus.layout={layout}"
    )
    corpus = plan_corpus(config.corpus, tmp_path / "artifacts").ensure()
    documents = [document for shard in shard_paths(corpus) for document in read_documents(shard)]
    return [record_of(document) for document in documents]


def test_an_alpaca_row_is_written_as_llama_factory_writes_it(folder):
    turns = [Turn("user", "Say it."), Turn("assistant", "The cat.")]
    example = load_template(folder, ALPACA).encode(turns)
    asked = "### Instruction:\nSay it.\n\n### Response:\n"
    assert text_of(folder, example.token_ids) == f"{SYSTEM}{asked}The cat.{END}\n\n"
    assert learnt_of(folder, example) == f"The cat.{END}\n\n"
    again = load_template(folder, ALPACA).encode([Turn("system", "Be brief.\n"), *turns, *turns])
    assert text_of(folder, again.token_ids) == "Be brief.\n" + 2 * f"{asked}The cat.{END}\n\n"


@pytest.mark.parametrize(("layout", "rows"), [("alpaca", alpaca_rows()), ("sharegpt", sharegpt_rows())])
def test_exactly_what_the_assistant_says_is_learnt(folder, tmp_path, layout, rows):
    template = load_template(folder, TemplateConfig(user="<{content}>", assistant="{content}{end}"))
    found = records(tmp_path, layout, rows)
    assert len(found) == len(rows)
    for record, row in zip(found, rows, strict=True):
        turns = turns_of(record)
        said = [turn.content for turn in turns if turn.role == "assistant"]
        if layout == "alpaca":
            expected = [answer for _, answer in row.get("history", [])] + [row["output"]]
            asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
            assert turns[-2].content == asked
        else:
            expected = [turn["value"] for turn in row["conversations"] if turn["from"] in ("gpt", "function_call")]
            assert [turn.role for turn in turns if turn.role != "system"] == ["user", "assistant"] * len(expected)
        assert said == expected
        assert learnt_of(folder, template.encode(turns)) == "".join(f"{text}{END}" for text in expected)


def test_text_that_spells_the_end_does_not_end_the_conversation(folder):
    example = load_template(folder, ALPACA).encode([Turn("user", END), Turn("assistant", f"a{END}b")])
    end_id = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(END)
    assert example.token_ids.count(end_id) == 1  # the real end


CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def chat_folder(folder: Path, copy: Path, template: str) -> Path:
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    stated = json.loads((copy / "tokenizer_config.json").read_text()) | (
        {"chat_template": template} if template else {}
    )
    (copy / "tokenizer_config.json").write_text(json.dumps(stated))
    return copy


def test_the_tokenizers_own_template(folder, tmp_path):
    own = chat_folder(folder, tmp_path / "own", CHAT)
    turns = [Turn("system", "s"), Turn("user", "u"), Turn("assistant", "a"), Turn("user", "v"), Turn("assistant", "b")]
    example = load_template(own, None).encode(turns)
    whole = "<system>s</system><user>u</user><assistant>a</assistant><user>v</user><assistant>b</assistant>"
    assert text_of(own, example.token_ids) == whole
    assert learnt_of(own, example) == "a</assistant>b</assistant>"
    with pytest.raises(UnusableInput, match=r"sft\.template=chat: the tokenizer in .* has no chat template"):
        load_template(folder, None)
    forgets = "{% for m in messages[-1:] %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(UnusableInput, match="writes earlier turns anew"):
        load_template(chat_folder(folder, tmp_path / "forgets", forgets), None).encode(turns)
    refuses = "{{ raise_exception('no system here') }}"
    with pytest.raises(UnusableInput, match=r"refuses a row .*no system here"):
        load_template(chat_folder(folder, tmp_path / "refuses", refuses), None).encode(turns)


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer_definition())
    with pytest.raises(UnusableInput, match="names no end token"):
        load_template(tmp_path, ALPACA)


# --- examples ---------------------------------------------------------------------------------------------------------


def build_examples(folder: Path, tmp_path: Path, rows: list[dict], *overrides: str) -> Path:
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    config = compose("stage=sft", "corpus=local", f"corpus.path={file}", "corpus.layout=alpaca", *overrides)
    config.artifacts = str(tmp_path / "artifacts")
    corpus = plan_corpus(config.corpus, tmp_path / "artifacts")
    return plan_examples(config, corpus, find_tokenizer(str(folder), "base.path")).ensure()


def rows_of_length(*lengths: int) -> list[dict]:
    return [{"instruction": "x" * length, "output": "y"} for length in lengths]


def test_long_conversations_are_cut_or_dropped_and_counted(folder, tmp_path):
    rows = [{"instruction": "x", "output": "z" * 50}, *rows_of_length(1, 90), {"instruction": "x", "output": "y"}]
    plain = ("sft.template=plain", "recipe.sequence_length=20")
    cut = read_manifest(build_examples(folder, tmp_path, rows, *plain))["counts"]
    assert {key: cut[key] for key in ("rows", "examples", "truncated", "dropped")} == {
        "rows": 4, "examples": 3, "truncated": 1, "dropped": 1}  # fmt: skip
    dropped = read_manifest(build_examples(folder, tmp_path, rows, *plain, "sft.on_long=drop"))["counts"]
    assert (dropped["examples"], dropped["truncated"], dropped["dropped"]) == (2, 0, 2)
    with pytest.raises(UnusableInput, match="none of the 1 rows leaves a response within 20 tokens"):
        build_examples(folder, tmp_path, rows_of_length(90), *plain)


def test_plain_text_and_unknown_templates_are_refused(folder, tmp_path):
    file = write_jsonl(tmp_path / "text.jsonl", [{"id": "d", "text": "plain"}])
    config = compose("stage=sft", "corpus=local", f"corpus.path={file}")
    corpus = plan_corpus(config.corpus, tmp_path / "artifacts")
    tokenizer = find_tokenizer(str(folder), "base.path")
    config.artifacts = str(tmp_path / "artifacts")
    with pytest.raises(UnusableInput, match=r"document 'd' of .* is no instruction row; .*corpus\.layout=alpaca"):
        plan_examples(config, corpus, tokenizer).ensure()
    with pytest.raises(BadConfiguration, match=r"sft\.template=llama3: there are chat, alpaca, plain"):
        plan_examples(compose("stage=sft", "sft.template=llama3"), corpus, tokenizer)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.integers(50, 80), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_packing_holds_every_example_once_and_wastes_little(lengths, room, seed):
    length_E = np.array(lengths)
    bins = pack(length_E, room, seed)
    assert sorted(number for numbers in bins for number in numbers) == list(range(len(lengths)))
    filled = [int(length_E[numbers].sum()) for numbers in bins]
    assert max(filled) <= room
    # Best fit: any two sequences together are more than one holds.
    assert all(a + b > room for a, b in zip(sorted(filled), sorted(filled)[1:], strict=False))
    assert bins == pack(length_E, room, seed)


def model_of(kind: str, rows: int):
    from pretrain.models import architecture, fresh_model

    sizes = {"gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 1024}}.get(
        kind,
        {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "hidden_size": 32,
         "intermediate_size": 64, "max_position_embeddings": 1024},
    )  # fmt: skip
    config = compose(f"model.kind={kind}").model
    config.settings = sizes
    return fresh_model(architecture(config, rows, 0), "transformers", 0).eval()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo"])
def test_packed_padded_and_transformers_own_loss_are_one(folder, tmp_path, kind):
    """Transformers' loss with labels, a conversation at a time, is the reference."""
    examples = build_examples(folder, tmp_path, alpaca_rows(), "sft.template=plain", "recipe.sequence_length=900")
    model = model_of(kind, 300)
    self_check_packing(model)
    language_model = LanguageModel(model, 64, False)
    sums = {}
    for packing in (True, False):
        data = ExampleSequences(examples, 900, 0, 300, packing)
        total, learnt = 0.0, 0
        for start in range(0, len(data), 4):
            batch = data.batch(range(start, min(start + 4, len(data))))
            assert (batch.position_BL is not None) == packing
            tensors = [None if array is None else torch.from_numpy(array) for array in batch]
            total += language_model(*tensors).item()  # with gradient: the chunked loss
            with torch.no_grad():
                assert language_model(*tensors).item() == pytest.approx(language_model(*tensors).item())
            learnt += int((batch.target_BL != IGNORED).sum())
        sums[packing] = (total, learnt)
    reference, count = 0.0, 0
    for number in range(len(data)):
        token_T, learnt_T = data._example(number)
        labels = torch.from_numpy(np.where(learnt_T, token_T, IGNORED).astype(np.int64))[None]
        with torch.no_grad():
            out = model(input_ids=torch.from_numpy(token_T.astype(np.int64))[None], labels=labels)
        here = int(learnt_T[1:].sum())
        reference, count = reference + out.loss.item() * here, count + here
    assert sums[True][1] == sums[False][1] == count == read_manifest(examples)["counts"]["learnt_tokens"]
    assert sums[True][0] == pytest.approx(reference, rel=1e-5)
    assert sums[False][0] == pytest.approx(reference, rel=1e-5)
    assert len(ExampleSequences(examples, 900, 0, 300, True)) < len(data)


def test_the_gradient_of_what_is_not_learnt_is_nothing():
    from pretrain.language_model import loss_and_gradient

    logit_CV, target_C = torch.randn(6, 11), torch.tensor([3, IGNORED, 0, IGNORED, 10, 5])
    loss, gradient_CV = loss_and_gradient(logit_CV, target_C)
    expected = torch.nn.functional.cross_entropy(logit_CV, target_C, reduction="sum", ignore_index=IGNORED)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert (gradient_CV[[1, 3]] == 0).all() and (gradient_CV[[0, 2, 4, 5]].abs().sum(1) > 0).all()


def test_an_architecture_whose_texts_see_each_other_is_refused():
    model = model_of("gpt2", 300)
    forward = model.base_model.forward
    model.base_model.forward = lambda input_ids, position_ids=None, use_cache=False: forward(input_ids=input_ids)
    with pytest.raises(BadConfiguration, match=r"sft\.packing=true: .*see each other.*sft\.packing=false"):
        self_check_packing(model)


def test_a_token_beyond_the_embedding_is_refused(folder, tmp_path):
    examples = build_examples(folder, tmp_path, alpaca_rows(10))
    with pytest.raises(UnusableInput, match="beyond the model's 10 rows"):
        ExampleSequences(examples, 256, 0, 10, True)


@pytest.mark.parametrize("name", ["code_alpaca_2k", "oasst_en_100_tree"])
def test_real_rows(folder, tmp_path, name):
    source = require_test_data() / "sft" / f"{name}.json"
    layout = "alpaca" if name.startswith("code") else "sharegpt"
    rows = json.loads(source.read_text())[:60]
    examples = build_examples(folder, tmp_path, rows, f"corpus.layout={layout}", "recipe.sequence_length=4096")
    counts = read_manifest(examples)["counts"]
    (rejected,) = examples.parents[1].glob("corpus/*/rejected.jsonl")
    assert counts["rows"] + len(rejected.read_text().splitlines()) == len(rows)
    data = ExampleSequences(examples, 4096, 0, 300, True)
    written = "".join(text_of(folder, data._example(number)[0].tolist()) for number in range(counts["examples"]))
    assert written.count("### Response:") >= counts["examples"] > 40
