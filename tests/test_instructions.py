"""Instruction data through whole commands: the same rows out but for the responses, and back again."""

import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import files_of, run_command, write_jsonl
from corpus_fixtures import counts_of, documents_of, rejected_of
from instruction_fixtures import (
    LIVELY,
    REAL,
    alpaca_rows,
    edit,
    prior_inputs,
    responses_of,
    rows_of,
    sharegpt_rows,
    without_responses,
    write_array,
)
from test_end_to_end import ledger_of
from tokenizers_fixture import require_test_data

from toedit import edit_corpus
from toedit.artifacts import load_artifact
from toedit.config import EditConfig, TagsConfig
from toedit.edit_corpus import edit_shard, plan_edit
from toedit.fingerprints import canonical_json
from toedit.instructions import KEY, record_of
from toedit.scores import read_scores
from toedit.workspace import read_manifest


@pytest.fixture(scope="module")
def alpaca(tmp_path_factory, small_prior) -> Path:
    """A workplace with alpaca rows edited in `edited`."""
    work = tmp_path_factory.mktemp("alpaca")
    rows = write_array(work / "rows.json", alpaca_rows())
    edit(work, rows, "alpaca", small_prior, *LIVELY, "corpus.shard_bytes=1500")
    return work


def check_rows(edited: Path, originals: list[dict]) -> int:
    """Only responses differ; return how many do."""
    rows = rows_of(edited)
    assert [without_responses(row) for row in rows] == [without_responses(row) for row in originals]
    for row in rows:
        assert all(responses_of(row).values())
    return sum(responses_of(row) != responses_of(original) for row, original in zip(rows, originals, strict=True))


def check_counts(edited: Path) -> dict:
    counts = counts_of(edited)
    documents = documents_of(edited)
    notes = [document["metadata"]["toedit"] for document in documents]
    for key in ("tokens", "eligible", "changed"):
        assert counts[key] == sum(note[key] for note in notes)
    assert counts["instructions"] == len(rows_of(edited)) == len(documents)
    for document in documents:
        record_of(document)
    return counts


def test_only_responses_change_and_the_rows_come_out_in_their_layout(alpaca):
    edited = alpaca / "edited"
    assert len(list((edited / "documents").iterdir())) > 2
    assert check_rows(edited, alpaca_rows()) > 5
    assert check_counts(edited)["protected"] > 50  # the prompts', of which the prior is as sure
    info = json.loads((edited / "dataset_info.json").read_text())
    columns = {
        "history": "history",
        "prompt": "instruction",
        "query": "input",
        "response": "output",
        "system": "system",
    }
    assert info == {"instructions": {"file_name": "instructions", "formatting": "alpaca", "columns": columns}}
    listed = {
        output["path"]: output.get("rows") for output in json.loads((edited / "manifest.json").read_text())["outputs"]
    }
    assert sum(rows for path, rows in listed.items() if path.startswith("instructions/")) == 30
    assert "dataset_info.json" in listed


def test_edits_in_the_ledger_lie_in_responses(alpaca):
    documents = {document["id"]: document for document in documents_of(alpaca / "edited")}
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=alpaca)
    originals = {document["id"]: document["metadata"][KEY] for document in documents_of(alpaca / "original")}
    ledger = ledger_of(alpaca / "edited")
    for row in ledger:
        assert any(a <= row["start"] and row["end"] <= b for a, b in originals[row["id"]]["editable"])
    assert len(ledger) > 10 and documents.keys() == originals.keys()


def test_revert_restores_rows_and_corpus(alpaca):
    run_command("stage=revert", "edited.path=edited", "out=back", cwd=alpaca)
    assert [canonical_json(row) for row in rows_of(alpaca / "back")] == [canonical_json(row) for row in alpaca_rows()]
    run_command(
        "stage=corpus", "corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", "corpus.shard_bytes=1500",
        "out=corpus", cwd=alpaca,
    )  # fmt: skip
    assert files_of(alpaca / "back", "documents") == files_of(alpaca / "corpus", "documents")
    assert (alpaca / "back" / "dataset_info.json").read_bytes() == (
        alpaca / "edited" / "dataset_info.json"
    ).read_bytes()


def test_an_interrupted_edit_goes_on_to_the_same_rows(alpaca, small_prior, tmp_path, monkeypatch):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", "corpus.shard_bytes=1500"]
    run_command("stage=score", *inputs, *prior_inputs(small_prior), f"out={tmp_path / 'scores'}", cwd=alpaca)
    scores = load_artifact(tmp_path / "scores", ("scores",), "scores.path", "stage=score")
    edit_of = partial(plan_edit, scores, EditConfig(p=0.9, temperature=3.0))
    finished: list[int] = []

    def interrupted(*arguments):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(1)
        return edit_shard(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(edit_corpus, "edit_shard", interrupted)
        edit_of(tmp_path / "killed").ensure()
    killed, whole = edit_of(tmp_path / "killed").ensure(), edit_of(tmp_path / "whole").ensure()
    kinds = ("documents", "edits", "instructions")
    assert files_of(killed, *kinds) == files_of(whole, *kinds) == files_of(alpaca / "edited", *kinds)
    assert (killed / "dataset_info.json").read_bytes() == (whole / "dataset_info.json").read_bytes()
    assert counts_of(killed) == counts_of(whole)


def test_no_edit_gives_equal_rows(alpaca, small_prior):
    none = edit(alpaca, alpaca / "rows.json", "alpaca", small_prior, "edit=none", out="none")
    assert [canonical_json(row) for row in rows_of(none)] == [canonical_json(row) for row in alpaca_rows()]
    assert ledger_of(none) == []


def test_an_edited_corpus_can_be_edited_again(alpaca, small_prior):
    run_command(
        "stage=edit", "corpus=local", "corpus.path=edited", *prior_inputs(small_prior), *LIVELY, "edit.seed=1",
        "out=twice", cwd=alpaca,
    )  # fmt: skip
    assert check_rows(alpaca / "twice", alpaca_rows()) > 5
    run_command("stage=revert", "edited.path=twice", "out=once", cwd=alpaca)
    for kind in ("documents", "instructions"):
        assert files_of(alpaca / "once", kind) == files_of(alpaca / "edited", kind)


def test_deleting_everything_leaves_a_token_of_each_response(alpaca, small_prior):
    deleted = edit(
        alpaca, write_array(alpaca / "turns.json", sharegpt_rows()), "sharegpt", small_prior,
        "edit=delete_greater", "edit.delete_above=1e-9", out="deleted",
    )  # fmt: skip
    assert check_rows(deleted, sharegpt_rows()) == 20
    lengths = [len(text) for row in rows_of(deleted) for text in responses_of(row).values()]
    assert max(lengths) < 12
    run_command("stage=revert", "edited.path=deleted", "out=undeleted", cwd=alpaca)
    assert rows_of(alpaca / "undeleted") == sharegpt_rows()


def test_every_assistant_turn_is_a_response(small_prior, tmp_path):
    names = ("messages", "role", "content", "user", "assistant", "tool")
    for layout, rows in (("sharegpt", sharegpt_rows()), ("messages", sharegpt_rows(names))):
        edited = edit(
            tmp_path, write_jsonl(tmp_path / f"{layout}.jsonl", rows), layout, small_prior, *LIVELY, out=layout
        )
        assert check_rows(edited, rows) > 5
        paths = [path for document in documents_of(edited) for path in document["metadata"][KEY]["fields"]]
        assert len(paths) == sum(len(responses_of(row)) for row in rows)
        changed_turns = {
            path[1]
            for row, original in zip(rows_of(edited), rows, strict=True)
            for path, text in responses_of(row).items()
            if text != responses_of(original)[path]
        }
        assert len(changed_turns) > 2
        info = json.loads((edited / "dataset_info.json").read_text())["instructions"]
        assert info["formatting"] == "sharegpt" and info["columns"] == {"messages": rows and next(iter(rows[0]))}
        assert info["tags"]["assistant_tag"] == ("gpt" if layout == "sharegpt" else "assistant")
        assert info["tags"].keys() == {field.name for field in fields(TagsConfig)}


def all_scores(folder: Path) -> list:
    return [read_scores(path) for path in sorted((folder / "scores").glob("*.parquet"))]


def test_without_the_prompt_a_response_scores_like_a_document_of_its_own(small_prior, tmp_path):
    rows = sharegpt_rows()
    write_array(tmp_path / "rows.json", rows)
    texts = [text for row in rows for text in responses_of(row).values()]
    write_jsonl(tmp_path / "plain.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=sharegpt", *prior_inputs(small_prior)]
    run_command("stage=score", *inputs, "out=after", cwd=tmp_path)
    run_command("stage=score", *inputs, "edit.condition_on_prompt=false", "out=alone", cwd=tmp_path)
    plain_inputs = ["corpus=local", "corpus.path=plain.jsonl", *prior_inputs(small_prior)]
    run_command("stage=score", *plain_inputs, "out=plain", cwd=tmp_path)
    identity = {name: read_manifest(tmp_path / name)["identity"] for name in ("after", "alone", "plain")}
    assert identity["after"] == identity["plain"]  # the scores of before know nothing of prompts
    assert identity["alone"] == identity["plain"] | {"condition_on_prompt": False}
    (after,), (alone,), (plain,) = (all_scores(tmp_path / name) for name in ("after", "alone", "plain"))
    for name in ("token_id_T", "candidate_id_NK"):
        assert (getattr(alone, name) == getattr(plain, name)).all()
    np.testing.assert_allclose(alone.logprob_T, plain.logprob_T, atol=1e-5)
    assert len(alone.token_N) == len(plain.token_N) and (alone.token_N == plain.token_N).all()
    corpus = documents_of(next((tmp_path / "artifacts" / "corpus").glob("rows--*")))
    assert alone.ids == after.ids == [document["id"] for document in corpus]
    differences = 0
    for d, document in enumerate(corpus):
        data = document["text"].encode()
        tokens, whole = (slice(*scores.token_offset_D1[d : d + 2]) for scores in (alone, after))
        response = b"".join(data[a:b] for a, b in document["metadata"][KEY]["editable"])
        assert b"".join(data[a:b] for a, b in alone.span_T2[tokens]) == response
        assert (after.span_T2[whole][0, 0], after.span_T2[whole][-1, 1]) == (0, len(data))
        by_span = {
            tuple(span): p for span, p in zip(after.span_T2[whole].tolist(), after.logprob_T[whole], strict=True)
        }
        for span, p in zip(alone.span_T2[tokens].tolist(), alone.logprob_T[tokens], strict=True):
            differences += abs(by_span.get(tuple(span), p) - p) > 0.01
    assert differences > 50


def test_the_released_script_s_way_edits_only_responses_too(alpaca, small_prior):
    by_itself = [*LIVELY, "edit.condition_on_prompt=false"]
    alone = edit(alpaca, alpaca / "rows.json", "alpaca", small_prior, *by_itself, out="alone")
    assert check_rows(alone, alpaca_rows()) > 5
    assert check_counts(alone)["protected"] == 0
    assert {row["instruction"]: row["output"] for row in rows_of(alone)} != {
        row["instruction"]: row["output"] for row in rows_of(alpaca / "edited")
    }
    run_command("stage=revert", "edited.path=alone", "out=together", cwd=alpaca)
    assert rows_of(alpaca / "together") == alpaca_rows()
    run = run_command("stage=diff", "edited.path=alone", "out=page", cwd=alpaca)
    assert "diff.html" in run.stdout


def test_scores_with_and_without_the_prompt_are_not_confused(alpaca, small_prior, corpus_file):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", *prior_inputs(small_prior)]
    run_command("stage=score", *inputs, "out=with-prompts", cwd=alpaca)
    run = run_command("stage=edit", "scores.path=with-prompts", "edit.condition_on_prompt=false", cwd=alpaca, expect=2)
    assert "edit.condition_on_prompt" in run.stderr and "scores.path" in run.stderr
    run = run_command(
        "stage=edit", "corpus=local", f"corpus.path={corpus_file}", *prior_inputs(small_prior),
        "edit.condition_on_prompt=false", cwd=alpaca, expect=2,
    )  # fmt: skip
    assert "no instruction data" in run.stderr


def test_the_diff_marks_no_prompt_as_eligible(alpaca):
    from toedit.document_views import load_views

    run_command("stage=diff", "edited.path=edited", "out=diff", cwd=alpaca)
    for view in load_views(alpaca / "edited", [], 5):
        changed = list(view.edits)
        assert view.changeable_T is not None and view.changeable_T[changed].all()
        assert 0 < view.changeable_T.sum() < view.tokens
        start = view.span_T2[np.flatnonzero(view.changeable_T)[0], 0]
        assert start > 0


def test_forecast_and_budget_count_what_the_edit_counts(alpaca, small_prior):
    inputs = ["corpus=local", "corpus.path=rows.json", "corpus.layout=alpaca", *prior_inputs(small_prior)]
    for protect in ("[]", "[quotes,numbers]"):
        settings = [*inputs, f"edit.protect={protect}"]
        out = f"lively{protect}".replace("[", "-").replace("]", "").replace(",", "-")
        run_command("stage=edit", *settings, *LIVELY, "edit.k=8", f"out={out}", cwd=alpaca)
        run_command(
            "stage=forecast", *settings, "plan.p=[0.9]", "plan.k=[8]", "plan.temperature=[3]", f"out={out}-forecast",
            cwd=alpaca,
        )  # fmt: skip
        counts = counts_of(alpaca / out)
        row = json.loads((alpaca / f"{out}-forecast" / "expected_changes.json").read_text())["rows"][0]
        assert row["eligible"] == counts["eligible"] > 0
        assert row["expected_changed"] == pytest.approx(counts["expected_changed"], abs=1e-3)
    budget = counts["expected_changed"] / counts["tokens"] / 2
    run_command("stage=edit", *settings, "edit.p=0.9", f"edit.budget={budget:.6f}", "out=budget", cwd=alpaca)
    spent = counts_of(alpaca / "budget")
    assert spent["expected_changed"] / spent["tokens"] == pytest.approx(budget, rel=2e-3)


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, layout, count",
    [
        ("alpaca_en_demo", "alpaca", 40),
        ("code_alpaca_2k", "alpaca", 200),
        ("glaive_toolcall_en_demo", "sharegpt", 12),
        ("oasst_en_100_tree", "sharegpt", 20),
    ],
)
def test_real_rows_keep_every_prompt(name, layout, count, small_prior, tmp_path):
    rows = json.loads((require_test_data() / "sft" / f"{name}.json").read_text(encoding="utf-8"))
    rows = rows[:count] + [row for row in rows[count:] if layout == "alpaca" and not row["output"]][:2]
    good = [row for row in rows if all(responses_of(row).values())]
    edited = edit(tmp_path, write_array(tmp_path / "rows.json", rows), layout, small_prior, *REAL)
    assert check_rows(edited, good) > 5
    check_counts(edited)
    rejected = rejected_of(next((tmp_path / "artifacts" / "corpus").iterdir()))
    assert len(rejected) == len(rows) - len(good)
    run_command("stage=revert", "edited.path=edited", "out=original", cwd=tmp_path)
    assert [canonical_json(row) for row in rows_of(tmp_path / "original")] == [canonical_json(row) for row in good]


def test_a_data_set_library_reads_the_rows(alpaca):
    from datasets import load_dataset

    files = sorted(str(path) for path in (alpaca / "edited" / "instructions").iterdir())
    loaded = load_dataset("json", data_files=files, split="train", cache_dir=str(alpaca / "cache"))
    info = json.loads((alpaca / "edited" / "dataset_info.json").read_text())["instructions"]
    assert set(info["columns"].values()) <= set(loaded.column_names)
    assert loaded["output"][:] == [row["output"] for row in rows_of(alpaca / "edited")]
