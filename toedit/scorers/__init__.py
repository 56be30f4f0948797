"""Scorers: engines that run the prior over token sequences. `torch.py` is the one in this process.

A scorer reads no text and writes no file; `toedit/scoring.py` does both.

Shapes: L tokens of one sequence, R scored tokens of a whole batch, N of them confident, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toedit.config import ScoreConfig, ScorerConfig
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

    def score(self, batch: list[ModelInput]) -> BatchScores:
        """Log-probability of each asked token given its prefix, and candidates of the confident ones."""
        ...


def load_scorer(model: Path, score: ScoreConfig, scorer: ScorerConfig) -> Scorer:
    """The engine that `scorer.kind` names, with the model in folder `model`."""
    from toedit.scorers.torch import TorchScorer

    return TorchScorer(model, score, scorer)
