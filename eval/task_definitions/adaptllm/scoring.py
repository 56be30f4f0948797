"""Scoring rules of the AdaptLLM domain tasks, for the YAML files in this folder.

The rules are those of the evaluation code that AdaptLLM published (github.com/microsoft/LMOps, adaptllm/), written
anew; `docs/downstream.md` says where they differ on purpose. Each `process_results` function takes a row and the
harness's results (a log-likelihood an option, or one generated text) and gives {metric: value of this row}; the
functions at the end make one number of the values of all rows. Reads and writes nothing.

Shapes: N rows, L labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]

_ENTITY = re.compile(r"(\S+)\s+\((\S+)\)")
_NUMBER = re.compile(r"[-+]?\.?\d+(?:,\d{3})*\.?\d*(?:[eE][-+]?\d+)?%*")
_NUMBER_TOLERANCE = 1e-2


class Entity(NamedTuple):
    """A name and its kind, as in `Lender (person)`."""

    name: str
    kind: str


# --- options: the one with the largest mean log-likelihood of a token ------------------------------------------------


def predicted_option(results: Sequence[tuple[Any, bool]]) -> int:
    """The option with the smallest mean loss of a token; the first one where several tie.

    Raises ValueError where the log-likelihoods do not say of how many tokens they are the sum.
    """
    if not all(hasattr(logprob, "tokens") for logprob, _ in results):
        raise ValueError(
            "AdaptLLM's rule divides by the tokens of an option, and this model does not count them; run the task with "
            "`python run.py stage=eval`"
        )
    return int(np.argmin([-float(logprob) / logprob.tokens for logprob, _ in results]))


def accuracy(row: Row, results: Sequence[tuple[Any, bool]]) -> dict[str, float]:
    return {"acc": float(predicted_option(results) == row["gold_index"])}


def micro_f1(row: Row, results: Sequence[tuple[Any, bool]]) -> dict[str, float]:
    """Of one label a row, micro-averaged F1 is the share of rows that are right: their mean."""
    return {"micro_f1": float(predicted_option(results) == row["gold_index"])}


def labels(row: Row, results: Sequence[tuple[Any, bool]]) -> dict[str, tuple[int, int]]:
    """(right, predicted), for `weighted_f1`."""
    return {"weighted_f1": (row["gold_index"], predicted_option(results))}


def labels_of_class(row: Row, results: Sequence[tuple[Any, bool]]) -> dict[str, tuple[int, int, int]]:
    """(class, right, predicted), for `mean_weighted_f1`."""
    return {"weighted_f1": (row["class_id"], row["gold_index"], predicted_option(results))}


# --- generated text ---------------------------------------------------------------------------------------------------


def entity_f1(row: Row, results: Sequence[str]) -> dict[str, float]:
    """`entity_f1` is AdaptLLM's rule, by which the right answer itself may fall short of 1; `exact_entity_f1` is F1 of
    entities whose name and kind both agree."""
    right, predicted = parse_entities(_label(row)), parse_entities(results[0])
    exact = 2 * len(set(right) & set(predicted)) / (len(right) + len(predicted)) if right or predicted else 1.0
    return {"entity_f1": compare_entities(right, predicted), "exact_entity_f1": exact}


def _label(row: Row) -> str:
    """The right reply; of several the first, which alone AdaptLLM compares with."""
    label = row["label"]
    return str(label if isinstance(label, str) else label[0])


def parse_entities(text: str) -> list[Entity]:
    """Each `word (kind)` of a text once, in order. Of a name of several words this is the last one."""
    return list(dict.fromkeys(Entity(name, kind) for name, kind in _ENTITY.findall(text)))


def compare_entities(right: Sequence[Entity], predicted: Sequence[Entity]) -> float:
    """F1 in which the name and the kind of an entity are half a hit each; 0 where either list is empty.

    A right entity meets the first predicted one that has its name or its kind, and no other: the second of two persons
    meets the first person, and misses its own name.
    """
    hits = 0
    for entity in right:
        for found in predicted:
            agreeing = (entity.name == found.name) + (entity.kind == found.kind)
            if agreeing:
                hits += agreeing
                break
    if not hits:
        return 0.0
    precision, recall = hits / (2 * len(predicted)), hits / (2 * len(right))
    return 2 * precision * recall / (precision + recall)


def number_match(row: Row, results: Sequence[str]) -> dict[str, float]:
    """1 where any number of the reply's first line is within 0.01 of the right one."""
    right, replied = parse_numbers(_label(row)), parse_numbers(results[0])
    close = [math.isclose(number, right[0], abs_tol=_NUMBER_TOLERANCE) for number in replied] if right else []
    return {"exact_match": float(any(close))}


def parse_numbers(text: str) -> list[float]:
    """The numbers of the first line: commas between thousands, exponents, and `%` for hundredths."""
    found = []
    for match in _NUMBER.findall(text.partition("\n")[0]):
        digits = match.rstrip("%")
        try:
            number = float(digits.replace(",", "")) / 100 ** (len(match) - len(digits))
        except (ValueError, OverflowError):  # `.5.3`, a thousand percent signs
            continue
        if math.isfinite(number):
            found.append(number)
    return found


# --- one number of all rows -------------------------------------------------------------------------------------------


def weighted_f1(pairs: Sequence[tuple[int, int]] | NDArray[np.int64]) -> float:
    """The mean over labels of F1, weighted by how often a label is right; of (right, predicted) pairs."""
    label_L, code_2N = np.unique(np.array(pairs).T, return_inverse=True)
    right_N, predicted_N = code_2N.reshape(2, -1)
    count = len(label_L)
    confusion_LL = np.bincount(right_N * count + predicted_N, minlength=count * count).reshape(count, count)
    support_L, predicted_L = confusion_LL.sum(axis=1), confusion_LL.sum(axis=0)
    f1_L = 2 * confusion_LL.diagonal() / (support_L + predicted_L)
    return float(f1_L @ support_L / support_L.sum())


def mean_weighted_f1(triples: Sequence[tuple[int, int, int]] | NDArray[np.int64]) -> float:
    """The plain mean over classes of `weighted_f1`; of (class, right, predicted)."""
    row_N3 = np.array(triples)
    kinds = np.unique(row_N3[:, 0])
    return math.fsum(weighted_f1(row_N3[row_N3[:, 0] == kind, 1:]) for kind in kinds) / len(kinds)
