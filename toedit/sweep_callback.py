"""What Hydra calls when a sweep begins, however the command line asked for it (configs/config.yaml, hydra.callbacks).

Apart from sweeps.py because it needs Hydra to be imported, which commands that end early do without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.experimental.callback import Callback
from omegaconf import read_write

from toedit.sweeps import begin_sweep, quoted


class SweepCallback(Callback):
    """Hydra's own word for when a sweep begins, however the command line asked for it (configs/config.yaml)."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Fix the sweep's folder for all points, wherever they run, and remember what is to come."""
        folder = Path(config.hydra.sweep.dir).absolute()
        with read_write(config):
            config.hydra.sweep.dir = str(folder)
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(str(folder))}")
        begin_sweep(folder, _count(config.hydra))


def _count(hydra: Any) -> int | None:
    """How many points Hydra's basic sweeper makes of the overrides."""
    if not hydra.sweeper._target_.endswith(".BasicSweeper"):
        return None
    further = [f"{key}={values}" for key, values in (hydra.sweeper.params or {}).items()]
    count = 1
    for override in OverridesParser.create().parse_overrides([*hydra.overrides.task, *further]):
        if override.is_sweep_override():
            if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
                return None
            count *= len(list(override.sweep_string_iterator()))
    return count
