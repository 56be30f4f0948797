"""Rows of the domain, mathematics and knowledge tasks, made up here, and models that answer by construction.

The rows have the fields of the Hub's data sets (AdaptLLM/medicine-tasks, AdaptLLM/finance-tasks, openai/gsm8k,
EleutherAI/hendrycks_math, cais/mmlu, Idavidrein/gpqa, ...); words and right answers are drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import write_jsonl

LABELS = {
    "MQP": ["No", "Yes"],
    "ChemProt": ["substrate", "upregulator", "inhibitor", "indirect-downregulator", "agonist"],
    "PubMedQA": ["No", "Maybe", "Yes"],
    "RCT": ["Background", "Objective", "Methods", "Results", "Conclusions"],
    "Headline": ["No", "Yes"],
    "FPB": ["Negative", "Neutral", "Positive"],
    "FiQA_SA": ["Negative", "Neutral", "Positive"],
}
"""The options of the tasks whose rows all have the same ones."""
CHOICE = [*LABELS, "USMLE"]
REPLY = ["NER", "ConvFinQA"]
MATH_PARTS = ["Algebra", "Counting & Probability", "Geometry", "Intermediate Algebra", "Number Theory", "Prealgebra",
              "Precalculus"]  # fmt: skip
"""As the Hub's `type` spells them."""
SPLITS = {"medmcqa": "validation", "gpqa_main_zeroshot": "train"}
"""The split that the harness evaluates, where it is not test."""
Answer = Callable[[str, str], Any]


def domain_rows(name: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a task with the fields that they have on the Hub."""
    choose = random.Random(f"{name}/{seed}")
    return [_row(name, number, choose) for number in range(count)]


def _row(name: str, number: int, choose: random.Random) -> dict[str, Any]:
    def words(length: int = 3) -> str:
        return " ".join(
            choose.choice("bdfgklmnprst") + choose.choice("aeiou") + choose.choice("bdklmnt") for _ in range(length)
        )

    right, four, value = choose.randrange(4), [words() for _ in range(4)], choose.randrange(2, 999)
    if name in CHOICE:
        options = LABELS.get(name, four)
        row = {"id": number, "input": f"{words(5)}\nWhich?", "options": options, "gold_index": right % len(options)}
        return row | ({"class_id": number % 9} if name == "Headline" else {})
    match name:
        case "NER":
            label = f"{words(1)} (person), {words(1)} (location)"
            return {"id": number, "input": f"{words(5)}\nWhich entities?", "label": label}
        case "ConvFinQA":
            return {"id": number, "input": f"{words(5)}\nHow much?", "label": f"{value / 10}%"}
        case "gsm8k":
            return {"question": words(5), "answer": f"{words(2)} is {value}.\n#### {value}"}
        case "hendrycks_math":
            solution = f"{words(2)} $\\boxed{{{value}}}$."
            kind = MATH_PARTS[number % len(MATH_PARTS)]
            return {"problem": words(5), "level": "Level 1", "type": kind, "solution": solution}
        case "mmlu_stem":
            return {"question": words(5), "subject": MMLU_STEM[number % len(MMLU_STEM)], "choices": four,
                    "answer": right}  # fmt: skip
        case "gpqa_main_zeroshot":
            wrong = {f"Incorrect Answer {place + 1}": words() for place in range(3)}
            return {"Question": words(5), "Correct Answer": four[0], **wrong}
        case "pubmedqa":
            return {"QUESTION": words(), "CONTEXTS": [words(), words()],
                    "final_decision": ("yes", "no", "maybe")[right % 3]}  # fmt: skip
        case "medmcqa":
            return {"question": words(), **dict(zip(("opa", "opb", "opc", "opd"), four, strict=True)), "cop": right}
        case "medqa_4options":
            return {"sent1": words(), **{f"ending{place}": text for place, text in enumerate(four)}, "label": right}
    raise ValueError(name)


MMLU_STEM = [
    "abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry", "college_computer_science",
    "college_mathematics", "college_physics", "computer_security", "conceptual_physics", "electrical_engineering",
    "elementary_mathematics", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_mathematics", "high_school_physics", "high_school_statistics", "machine_learning",
]  # fmt: skip
"""A third of MMLU: a group of its own in the harness."""


def write_domain_tasks(folder: Path, counts: dict[str, int]) -> Path:
    """A folder a task, with the split that is evaluated and one for examples."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed, split in enumerate((SPLITS.get(name, "test"), "examples")):
            write_jsonl(folder / name / f"{split}.jsonl", domain_rows(name, count, seed))
    return folder


class AnsweringModel:
    """A model of the harness's that answers from a function: of (prompt, option) a log-likelihood, of a prompt a reply.

    It counts the words of an option as its tokens.
    """

    rank, world_size, truncated, max_length, version = 0, 1, 0, 4096, "a function"

    def __init__(self, logprob: Answer | None = None, reply: Callable[[str], str] | None = None) -> None:
        self._logprob, self._reply = logprob, reply

    def begin(self, task: str) -> None:
        pass

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[Any, bool]]:
        from eval.log_likelihood import LogLikelihood

        assert self._logprob is not None
        return [
            (LogLikelihood(self._logprob(*request.args), len(request.args[1].split())), False) for request in requests
        ]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        assert self._reply is not None
        return [self._reply(request.args[0]) for request in requests]


def teach_replies(folder: Path, pairs: list[tuple[str, str]], steps: int = 400) -> float:
    """Train the model in `folder` until after each prompt its reply and the end of text are what it would say.

    The loss is the cross-entropy of the reply's tokens. Returns the share of tokens that are known.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = []
    for prompt, reply in pairs:
        before, whole = tokenizer.encode(prompt), tokenizer.encode(prompt + reply)
        ids.append((len(before), [*whole, tokenizer.eos_token_id]))
    longest = max(len(whole) for _, whole in ids)
    token_NL = torch.tensor([whole + [tokenizer.eos_token_id] * (longest - len(whole)) for _, whole in ids])
    is_reply_NL = torch.tensor([[start <= place < len(whole) for place in range(longest)] for start, whole in ids])
    known = 0.0
    for _ in range(steps):
        logit_NLV = model(token_NL[:, :-1]).logits
        wanted_M, logit_MV = token_NL[:, 1:][is_reply_NL[:, 1:]], logit_NLV[is_reply_NL[:, 1:]]
        loss = torch.nn.functional.cross_entropy(logit_MV, wanted_M)
        known = float((logit_MV.argmax(-1) == wanted_M).float().mean())
        if known == 1 and loss < 0.1:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return known
