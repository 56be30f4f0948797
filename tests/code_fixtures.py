"""Questions in the layouts of HumanEval and MBPP, made up here, and a model that learns what to reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import write_jsonl

_OPERATIONS = {"add": "+", "take": "-", "times": "*", "join": "|", "power": "**"}


def humaneval_rows() -> list[dict[str, Any]]:
    return [
        {
            "task_id": f"HumanEval/{number}",
            "prompt": f"def {name}_{number}(x):\n",
            "canonical_solution": f"    return x {sign} {number}\n",
            "test": f"def check(candidate):\n    assert candidate(7) == 7 {sign} {number}\n",
            "entry_point": f"{name}_{number}",
        }
        for number, (name, sign) in enumerate(_OPERATIONS.items(), start=1)
    ]


def mbpp_rows() -> list[dict[str, Any]]:
    """All splits together: ids 2 to 4 are examples, those from 11 the test. One needs what its setup makes."""
    rows = []
    for task_id in (1, 2, 3, 4, 11, 12, 13, 511, 601):
        name, sign = list(_OPERATIONS.items())[task_id % 5]
        called = f"{name}_{task_id}"
        code = f"def {called}(x):\r\n  return x {sign} 2"
        setup = "seven = 7" if task_id == 12 else ""
        tests = [f"assert {called}({'seven' if setup else 7}) == 7 {sign} 2", f"assert {called}(3) == 3 {sign} 2"]
        rows.append(
            {
                "text": f"Write a function to {name} 2.",
                "code": code,
                "task_id": task_id,
                "test_setup_code": setup,
                "test_list": [*tests, f"assert {called}(1) == 1 {sign} 2"],
                "challenge_test_list": [],
            }
        )
    return rows


def write_code_tasks(folder: Path) -> Path:
    """humaneval/test.jsonl and mbpp/full.jsonl, as the data sets' authors have them."""
    for name, split, rows in (("humaneval", "test", humaneval_rows()), ("mbpp", "full", mbpp_rows())):
        (folder / name).mkdir(parents=True)
        write_jsonl(folder / name / f"{split}.jsonl", rows)
    return folder


def teach_replies(folder: Path, pairs: list[tuple[str, str]], passes: int = 400) -> None:
    """Train the model in `folder` until the most probable continuation of each prompt is its reply."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    end = model.config.eos_token_id
    ids = [(tokenizer.encode(prompt), [*tokenizer.encode(reply), end]) for prompt, reply in pairs]
    longest = max(len(prompt) + len(reply) for prompt, reply in ids)
    token_BL = torch.tensor([[*p, *r] + [end] * (longest - len(p) - len(r)) for p, r in ids])
    label_BL = torch.tensor([[-100] * len(p) + r + [-100] * (longest - len(p) - len(r)) for p, r in ids])
    for _ in range(passes):
        logits_BLV = model(token_BL).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), label_BL[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        known = logits_BLV.argmax(-1) == label_BL[:, 1:]
        if bool((known | (label_BL[:, 1:] == -100)).all()) and loss < 0.02:
            break
    model.save_pretrained(folder)
