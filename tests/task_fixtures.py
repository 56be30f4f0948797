"""Questions of every kind that the downstream groups ask, made up here, and models that know or do not know them.

The rows have the fields of the Hub's data sets; words and right answers are drawn at random, so that nothing but having
learned them helps.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import write_jsonl
from tokens_fixture import save_tokenizer

LABELS = "ABCD"
CHANCE = {
    "piqa": 1 / 2, "boolq": 1 / 2, "openbookqa": 1 / 4, "arc_challenge": 1 / 4, "arc_easy": 1 / 4, "hellaswag": 1 / 4,
    "social_iqa": 1 / 3, "winogrande": 1 / 2, "logiqa2": 1 / 4, "truthfulqa_mc1": 1 / 4,
}  # fmt: skip
SPLITS = {"openbookqa": "test", "arc_challenge": "test", "arc_easy": "test", "logiqa2": "test"}
"""The split that the harness evaluates, where it is not validation."""


def task_rows(name: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a task with the fields that they have on the Hub."""
    choose = random.Random(f"{name}/{seed}")

    def words(length: int = 3) -> str:
        return " ".join(
            choose.choice("bdfgklmnprst") + choose.choice("aeiou") + choose.choice("bdklmnt") for _ in range(length)
        )

    def row() -> dict[str, Any]:
        right, four = choose.randrange(4), [words() for _ in range(4)]
        labelled = {"choices": {"text": four, "label": list(LABELS)}, "answerKey": LABELS[right]}
        match name:
            case "piqa":
                return {"goal": words(), "sol1": four[0], "sol2": four[1], "label": right % 2}
            case "boolq":
                return {"passage": words(5), "question": words(), "label": right % 2}
            case "openbookqa":
                return {"question_stem": words(), **labelled}
            case "arc_easy" | "arc_challenge":
                return {"question": words(), **labelled}
            case "hellaswag":
                return {
                    "activity_label": words(1),
                    "ctx_a": words(),
                    "ctx_b": words(2),
                    "endings": four,
                    "label": str(right),
                }
            case "social_iqa":
                answers = dict(zip(("answerA", "answerB", "answerC"), four, strict=False))
                return {"context": words(), "question": words(), **answers, "label": str(right % 3 + 1)}
            case "winogrande":
                sentence = f"{words()} _ {words(2)}"
                return {"sentence": sentence, "option1": four[0], "option2": four[1], "answer": str(right % 2 + 1)}
            case "logiqa2":
                return {"text": words(), "question": words(), "options": four, "answer": right}
            case "truthfulqa_mc1":
                return {"question": words(), "mc1_targets": {"choices": four, "labels": [1, 0, 0, 0]}}
            case "truthfulqa_gen":
                return {"question": words(), "correct_answers": four[:2], "incorrect_answers": four[2:]}
        raise ValueError(name)

    return [row() for _ in range(count)]


def write_tasks(folder: Path, names: list[str], count: int, splits: tuple[str, ...] = ()) -> Path:
    """A folder a task, with the split that is evaluated and `splits` besides."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, split in enumerate((SPLITS.get(name, "validation"), *splits)):
            write_jsonl(folder / name / f"{split}.jsonl", task_rows(name, count, seed=number))
    return folder


def save_model(folder: Path, texts: list[str], width: int = 32, positions: int = 1024) -> Path:
    """A Hugging Face folder with random weights and a tokenizer made for `texts`."""
    end = save_tokenizer(folder, 600, texts)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=600, n_positions=positions, n_embd=width, n_layer=1, n_head=2, bos_token_id=end, eos_token_id=end
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def teach(
    folder: Path, questions: list[tuple[list[tuple[str, str]], int]], passes: int = 40, a_token: bool = False
) -> float:
    """Train the model in `folder` until it prefers, of each question's (prompt, answer) pairs, the right one.

    The loss is the cross-entropy of the choice between the pairs by their log-likelihood; with `a_token` also by its
    mean over the answer's tokens. Returns the share it knows.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    prepared = []
    for pairs, right in questions:
        ids = [(tokenizer.encode(prompt), tokenizer.encode(answer)) for prompt, answer in pairs]
        longest = max(len(prompt) + len(answer) for prompt, answer in ids)
        token_CL = torch.tensor([[*p, *a] + [0] * (longest - len(p) - len(a)) for p, a in ids])
        is_answer_CL = torch.tensor([[len(p) <= place < len(p) + len(a) for place in range(longest)] for p, a in ids])
        prepared.append((token_CL, is_answer_CL[:, 1:], right))

    def scores(question: tuple[torch.Tensor, torch.Tensor, int]) -> torch.Tensor:
        token_CL, is_answer_CL, _ = question
        logprob_CLV = model(token_CL[:, :-1]).logits.log_softmax(-1)
        own_CL = logprob_CLV.gather(-1, token_CL[:, 1:, None])[..., 0]
        score_C = (own_CL * is_answer_CL).sum(1)
        return torch.stack([score_C, score_C / is_answer_CL.sum(1)] if a_token else [score_C])

    order, known = random.Random(0), 0.0
    for _ in range(passes):
        order.shuffle(prepared)
        for question in prepared:
            score_RC = scores(question)  # a row a rule
            torch.nn.functional.cross_entropy(score_RC, torch.tensor([question[2]] * len(score_RC))).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            known = sum(bool((scores(own).argmax(1) == own[2]).all()) for own in prepared) / len(prepared)
        if known == 1:
            break
    model.save_pretrained(folder)
    return known


def with_code_of_its_own(model: Path, folder: Path) -> Path:
    """A copy of a GPT-2 under a name that Transformers does not know, with Python files that define it."""
    shutil.copytree(model, folder)
    settings = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "homemade.Homemade", "AutoModelForCausalLM": "homemade.HomemadeModel"}
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "homemade", "auto_map": classes}))
    (folder / "homemade.py").write_text(
        "from transformers import GPT2Config, GPT2LMHeadModel\n"
        "class Homemade(GPT2Config):\n    model_type = 'homemade'\n"
        "class HomemadeModel(GPT2LMHeadModel):\n    config_class = Homemade\n"
    )
    return folder
