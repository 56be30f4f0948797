"""Training curves: metrics.csv in the checkpoint, and behind the same call TensorBoard and Weights & Biases.

metrics.csv holds what the configuration decides, so that two runs give the same bytes; rates of this machine go to the
trackers and to the screen.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from pretrain.job import Job
from toedit.console import note
from toedit.errors import UnusableInput
from toedit.fingerprints import hash_file

METRICS = "metrics.csv"
COLUMNS = ("step", "tokens", "loss", "learning_rate", "gradient_norm", "validation_loss", "validation_perplexity")


class Tracker(Protocol):
    """Something that keeps curves."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class CsvTracker:
    """metrics.csv: rows up to the resumed step stay, later ones are made again."""

    def __init__(self, path: Path, resumed_step: int, sha256_then: str | None = None) -> None:
        """`sha256_then`: of the file as the checkpoint left it that is resumed."""
        kept = [row for row in read_metrics(path) if int(row["step"]) <= resumed_step] if path.is_file() else []
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        if sha256_then not in (None, hash_file(temporary)):
            temporary.unlink()
            raise UnusableInput(
                f"{path}: damaged: its rows up to step {resumed_step} are not those that were written; remove "
                f"{path.parent / 'state'}, and the same command begins anew"
            )
        temporary.replace(path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n", extrasaction="ignore")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        written = {key: f"{value:.9g}" for key, value in values.items()}
        self._writer.writerow({"step": step, **written})
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoardTracker:
    """`tensorboard --logdir outputs/tracking`."""

    def __init__(self, folder: Path, resumed_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class WandbTracker:
    """Weights & Biases: online where this machine is logged in, else a folder for `wandb sync`."""

    def __init__(self, job: Job, folder: Path) -> None:
        import wandb

        mode: Any = job.config.tracker.wandb_mode
        if mode == "auto":
            mode = "online" if os.environ.get("WANDB_API_KEY") or _has_login() else "offline"
        folder.mkdir(parents=True, exist_ok=True)
        recorded = {key: asdict(getattr(job.config, key)) for key in ("model", "recipe", "trainer")}
        self._run = wandb.init(
            project=job.config.tracker.project,
            name=job.name,
            id=job.folder.name,
            resume="allow" if mode == "online" else None,
            mode=mode,
            dir=str(folder),
            config=recorded,
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class Trackers:
    """All of them behind one."""

    def __init__(self, job: Job, resumed_step: int) -> None:
        folder = Path(job.config.tracker.folder) / job.folder.name
        from pretrain.checkpoints import metrics_then  # here: whoever only reads metrics needs no torch

        then = metrics_then(job.folder / "state") if resumed_step else None
        self._all: list[Tracker] = [CsvTracker(job.folder / METRICS, resumed_step, then)]
        if "tensorboard" in job.config.tracker.kinds:
            self._all.append(TensorBoardTracker(folder / "tensorboard", resumed_step))
        if "wandb" in job.config.tracker.kinds:
            self._all.append(WandbTracker(job, folder))
        if job.config.tracker.kinds:
            note(f"curves: {folder} ({', '.join(job.config.tracker.kinds)})")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._all:
            tracker.log(step, values)

    def close(self) -> None:
        for tracker in self._all:
            tracker.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.csv; a last one that a killed run left half-written is dropped."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and (row["step"] or "").isdigit()]


def _has_login() -> bool:
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    return netrc.is_file() and "wandb" in netrc.read_text(errors="replace")
