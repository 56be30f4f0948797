"""Scorers: engines that run the prior over token sequences.

`torch.py` runs in this process, or in one process a GPU; `vllm.py` in a Python that has vLLM. `toedit/elsewhere.py`
starts such processes.

A scorer reads no text and writes no file; `toedit/scoring.py` does both.

Shapes: L tokens of one sequence, R scored tokens of a whole batch, N of them confident, K candidates.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toedit import vllm_engine
from toedit.config import ScoreConfig, ScorerConfig
from toedit.elsewhere import Elsewhere
from toedit.windows import ModelInput


@dataclass(frozen=True)
class BatchScores:
    """Scores of the tokens that a batch asked for, sequence after sequence."""

    logprob_R: NDArray[np.float32]
    confident_N: NDArray[np.int64]
    """Which of the R tokens have P >= min_p."""
    candidate_id_NK: NDArray[np.int32]
    candidate_logprob_NK: NDArray[np.float32]


class Scorer(Protocol):
    """What an engine offers."""

    versions: dict[str, str]
    """Of the libraries that compute: noted in the manifest."""
    batch_tokens: int
    """Tokens in a batch, padding included: what is asked for, or what suits engine and device."""

    def score(self, batch: list[ModelInput]) -> BatchScores:
        """Log-probability of each asked token given its prefix, and candidates of the confident ones."""
        ...


def load_scorers(model: Path, score: ScoreConfig, scorer: ScorerConfig) -> list[Scorer]:
    """The engines of one command: one in this process, or one a process where there are several GPUs or it is asked."""
    count = _processes(scorer)
    if count == 1:
        return [load_scorer(model, score, scorer)]
    shares = [_share_of_machine(scorer, number, count) for number in range(count)]
    with ThreadPoolExecutor(count) as starting:  # each loads the model; they do so side by side
        return list(starting.map(lambda share: ScorerElsewhere(Path(sys.executable), model, score, share), shares))


def load_scorer(model: Path, score: ScoreConfig, scorer: ScorerConfig) -> Scorer:
    """The engine that `scorer.kind` names, with the model in folder `model`."""
    if scorer.kind == "vllm":
        python = vllm_engine.other_python("scorer=vllm", "scorer.python", scorer.python)
        if python is not None:
            return ScorerElsewhere(python, model, score, scorer)
    return _engine(scorer.kind)(model, score, scorer)


def _processes(scorer: ScorerConfig) -> int:
    """How many processes: what is asked, else one a GPU for torch."""
    if scorer.processes is not None:
        return scorer.processes
    if scorer.kind == "torch" and scorer.device == "auto":
        import torch

        return max(torch.cuda.device_count(), 1)
    return 1


def _share_of_machine(scorer: ScorerConfig, number: int, count: int) -> ScorerConfig:
    """The settings of one process among `count`: a GPU of its own, or its share of the cores."""
    import torch

    if scorer.device == "auto" and torch.cuda.is_available():
        return replace(scorer, device=f"cuda:{number % torch.cuda.device_count()}")
    return replace(scorer, threads=scorer.threads or max(torch.get_num_threads() // count, 1))


class ScorerElsewhere(Elsewhere):
    """The scorer that `scorer.kind` names, in a process of its own, run by `python`."""

    versions: dict[str, str]
    batch_tokens: int

    def __init__(self, python: Path, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        arguments = (model.resolve(), score, scorer)
        super().__init__(
            f"scorer={scorer.kind}", python, _engine(scorer.kind), arguments, facts=("versions", "batch_tokens")
        )

    def score(self, batch: list[ModelInput]) -> BatchScores:
        scores: BatchScores = self.call("score", batch)
        return scores


def _engine(kind: str) -> Callable[[Path, ScoreConfig, ScorerConfig], Scorer]:
    if kind == "vllm":
        from toedit.scorers.vllm import VllmScorer

        return VllmScorer
    from toedit.scorers.torch import TorchScorer

    return TorchScorer
