"""The points of an experiment: arms x grid x seeds, each an ordinary command of one stage.

`experiment=` names a file of `configs/experiment/`; its points are composed by Hydra itself, their overrides on top of
the command line's. A point alone is therefore a command too, with the same artifact:

    python run.py experiment=paper/ablation_p                                      all points, a table and a figure
    python run.py stage=edit experiment=paper/ablation_p edit.p=0.99 edit.seed=0   one of them

`analysis/experiment.py` is the stage; `toedit/point_runs.py` builds the points.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toedit import command
from toedit.artifacts import Artifact, slug
from toedit.config import Config, ExperimentConfig, ScaleConfig
from toedit.errors import BadConfiguration, ToEditError

_OURS = ("stage", "out", "dry_run")
"""Keys that concern the experiment as a whole and never reach a point."""


@dataclass(frozen=True)
class Point:
    """One run of an experiment."""

    number: int
    """Its place among the points, from 0."""
    setting: str
    """What it shows in the table: the arm, and what the grid varies (`rejection, p=0.9`)."""
    arm: str
    """The arm's name; empty where the experiment has none."""
    values: tuple[tuple[str, str], ...]
    """(key, value) of the grid."""
    seed: int
    overrides: tuple[str, ...]
    """What it adds to the command line."""

    @property
    def role(self) -> str:
        """Its name among the inputs of the experiment's artifact."""
        return f"{self.number:03d}.{slug(self.setting)}.seed{self.seed}"


@dataclass
class PlannedPoint:
    """A point and what became of it."""

    point: Point
    artifact: Artifact | None = None
    """None: it cannot even be planned."""
    failure: ToEditError | None = None


def expand(experiment: ExperimentConfig, seeds: Sequence[int]) -> list[Point]:
    """The points, setting by setting; `seeds` where the experiment names none.

    Raises BadConfiguration where two of them would have the same name.
    """
    arms = list(experiment.arms.items()) or [("", [])]
    grid = [parse_sweep(sweep) for sweep in experiment.grid]
    points: list[Point] = []
    for arm, arm_overrides in arms:
        for combination in itertools.product(*([(key, value) for value in values] for key, values in grid)):
            shown = [arm] * bool(arm) + [f"{key.rpartition('.')[2]}={value}" for key, value in combination]
            for seed in experiment.seeds or seeds:
                chosen = (*arm_overrides, *(f"{key}={value}" for key, value in combination))
                seeded = (*chosen, *(f"{key}={seed}" for key in experiment.seed_keys))
                setting = ", ".join(shown) or experiment.stage
                points.append(Point(len(points), setting, arm, combination, seed, seeded))
    for point in points:
        keys = [_key(override) for override in point.overrides]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise BadConfiguration(f"experiment={experiment.name}: {point.setting} sets {twice[0]} twice")
    names = [(point.setting, point.seed) for point in points]
    if same := [setting for setting, seed in names if names.count((setting, seed)) > 1]:
        raise BadConfiguration(f"experiment={experiment.name}: two settings are called {same[0]}")
    return points


def at_scale(experiment: ExperimentConfig, scale: ScaleConfig) -> ExperimentConfig:
    """The experiment without the arms that `scale` cannot have; a note says so."""
    if scale.downloads or not experiment.hub_arms:
        return experiment
    arms = {name: overrides for name, overrides in experiment.arms.items() if name not in experiment.hub_arms}
    said = f"Left out at scale={scale.name}, which downloads nothing: {', '.join(experiment.hub_arms)}."
    return replace(experiment, arms=arms, hub_arms=[], notes=[*experiment.notes, said])


def parse_sweep(sweep: str) -> tuple[str, list[str]]:
    """`edit.p=0.9,0.99` -> ("edit.p", ["0.9", "0.99"]), as Hydra reads what stands after `-m`."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(sweep)
    except HydraException as error:
        raise BadConfiguration(f"experiment.grid={sweep}: {str(error).splitlines()[0]}") from None
    if override.is_sweep_override():
        return override.get_key_element(), list(override.sweep_string_iterator())
    return override.get_key_element(), [override.get_value_element_as_str()]


def own_overrides(given: Sequence[str], points: Sequence[Point]) -> list[str]:
    """The overrides of the command line that its points take over.

    Raises BadConfiguration where one of them names a key that the points set themselves: it would change nothing.
    """
    taken = {_key(override): point for point in points for override in point.overrides}
    for override in given:
        if _key(override) in taken:
            raise BadConfiguration(
                f"{override}: the experiment sets {_key(override)} at each of its points; change experiment.arms, "
                "experiment.grid or experiment.seeds"
            )
    return [override for override in given if _key(override) not in _OURS]


def command_overrides() -> list[str]:
    """What the user typed behind `python run.py`, as Hydra knows it."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task)


def config_folders() -> list[str]:
    """`--config-dir=…`, where the user's own configuration stands in another folder."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def run_folder() -> Path:
    """Hydra's folder of this command: it holds logs."""
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir)


def plan_points(
    experiment: ExperimentConfig, points: Sequence[Point], given: Sequence[str], dry_run: bool
) -> list[PlannedPoint]:
    """Compose and plan every point; one that cannot be planned carries its error. Raises it where none can."""
    shared = [*own_overrides(given, points), f"dry_run={str(dry_run).lower()}"]
    planned = []
    composed: dict[str, Any] = {}
    for point in points:
        try:
            if point.setting not in composed:
                overrides = [f"stage={experiment.stage}", *shared, *point.overrides]
                composed = {point.setting: _compose(overrides)}  # the others are not needed again
            config = _with_seed(composed[point.setting], experiment.seed_keys, point.seed)
            planned.append(PlannedPoint(point, command.stage_module(experiment.stage).plan(config)))
        except Exception as error:
            known = command.as_user_error(error)
            if known is None:
                raise
            planned.append(PlannedPoint(point, failure=known))
    if planned and all(entry.failure for entry in planned):
        raise planned[0].failure or AssertionError
    return planned


def compose_point(overrides: Sequence[str]) -> Config:
    """The configuration of one point, composed as the command line is."""
    return _with_seed(_compose(overrides), (), 0)


def _compose(overrides: Sequence[str]) -> Any:
    from hydra import compose

    return compose("config", overrides=list(overrides))


def _with_seed(composed: Any, seed_keys: Sequence[str], seed: int) -> Config:
    """The typed configuration with another seed: composing takes ten times as long as this, and seeds are only numbers.

    Changes `composed`, every key of the seed at once.
    """
    from omegaconf import OmegaConf

    for key in seed_keys:
        OmegaConf.update(composed, key, seed)
    return command.build_config(OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
