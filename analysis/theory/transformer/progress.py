"""How far a study is: its trainings are most of its time, and each has a progress line of its own.

training 7 of 21; about 3m12s left
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from toedit.artifacts import Artifact
from toedit.console import duration, note
from toedit.workspace import Result, Workspace


class Trainings:
    """Counts the trainings that are not there yet, and says before each which one it is."""

    def __init__(self, models: Iterable[Artifact]) -> None:
        """Models that come twice (regimes share some) count once; their `build` announces itself from now on."""
        found = list(models)
        by_fingerprint = {model.fingerprint: model for model in found}
        self.missing = sum(model.state() != "cached" for model in by_fingerprint.values())
        self.begun, self.started = 0, time.monotonic()
        there = len(by_fingerprint) - self.missing
        note(f"transformer_generations: {len(by_fingerprint)} trainings, {there} of them there")
        for model in found:
            if model.build is not None:
                model.build = partial(self._announced, build=model.build)

    def _announced(self, workspace: Workspace, build: Callable[[Workspace], Result]) -> Result:
        if self.begun == 0:
            self.started = time.monotonic()
        left = ""
        if self.begun:
            seconds = (time.monotonic() - self.started) / self.begun * (self.missing - self.begun)
            left = f"; about {duration(seconds)} left"
        self.begun += 1
        note(f"training {self.begun} of {self.missing}{left}")
        return build(workspace)
