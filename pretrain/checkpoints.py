"""Checkpoints from which a training resumes: `state/step-00000500/`, written by all ranks, complete or not there.

Holds float32 weights, AdamW's moments (torch.distributed.checkpoint, one file a rank), `position.json`, and each rank's
checksums (`files-0.json`): a damaged checkpoint is refused, or a training would go on from wrong weights without a
word. Any number of ranks loads what any other number wrote. Data position and random state follow from the step, so the
step is all there is to know about them.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException, FileSystemReader, FileSystemWriter

from pretrain.ranks import Ranks
from pretrain.tracking import METRICS
from toedit.command import as_user_error
from toedit.errors import UnusableInput
from toedit.fingerprints import hash_file, hash_json
from toedit.workspace import write_json

POSITION = "position.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")


class _Writer(FileSystemWriter):
    """Without the random id that torch would write: two runs give the same bytes."""

    def storage_meta(self) -> None:
        return None


def save(
    state: Path,
    step: int,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
    kept: int,
) -> None:
    """Write the checkpoint of `step`; then remove all but the newest `kept`."""
    final = state / f"step-{step:08d}"
    temporary = state / f".{final.name}.tmp"
    if ranks.is_first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    ranks.wait()
    held = _tensors(parameters, optimizer)
    # The kinds of metadata and their order must not depend on threads: one writes.
    writer = _Writer(temporary, thread_count=1, sync_files=True)
    with _quietly():
        dcp.save(held, storage_writer=writer, no_dist=ranks.count == 1)
    _note_files(temporary, ranks)
    ranks.wait()
    if ranks.is_first:
        taken = int(next(iter(optimizer.state.values()))["step"].item())
        metrics = state.parent / METRICS
        known = {}
        if metrics.is_file():
            with metrics.open("rb") as file:
                os.fsync(file.fileno())  # what the position promises must outlive a machine that goes down
            known = {"metrics": hash_file(metrics)}
        position = {"step": step, "optimizer_steps": taken, "ranks": ranks.count, **known}
        write_json(temporary / POSITION, {**position, "sha256": hash_json(position)}, durable=True)
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
    ranks.wait()
    if ranks.is_first:
        keep_newest(state, kept)


def load(
    folder: Path, parameters: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, ranks: Ranks
) -> int:
    """Restore weights and optimizer in place; return the step."""
    position = _position(folder)
    _refuse_damage(folder, ranks)
    for weight in parameters.values():
        moments: dict[str, Any] = {key: torch.zeros_like(weight) for key in _MOMENTS}
        # Fused AdamW counts its steps where the weights are.
        taken = position.get("optimizer_steps", position["step"])  # more than `step` where the base's were kept
        count = torch.tensor(float(taken), device=weight.device)
        optimizer.state[weight] = {"step": count, **moments}
    with _quietly():
        dcp.load(_tensors(parameters, optimizer), storage_reader=FileSystemReader(folder), no_dist=ranks.count == 1)
    return int(position["step"])


def _note_files(folder: Path, ranks: Ranks) -> None:
    """Leave sizes and checksums of the files that this rank wrote: the trainings to come must not learn from damage."""
    written = [*folder.glob(f"__{ranks.rank}_*"), *([folder / ".metadata"] if ranks.is_first else [])]
    facts = {file.name: [file.stat().st_size, _crc(file)] for file in sorted(written)}
    write_json(folder / f"files-{ranks.rank}.json", facts, durable=True)


def _refuse_damage(folder: Path, ranks: Ranks) -> None:
    """Raise UnusableInput naming a file that is not as it was written; the ranks share the reading."""
    facts: dict[str, list[int]] = {}
    for listed in sorted(folder.glob("files-*.json")):  # older checkpoints have none
        try:
            facts.update(json.loads(listed.read_text()))
        except ValueError:
            raise _damaged(listed) from None
    for number, (name, (size, crc)) in enumerate(sorted(facts.items())):
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            raise _damaged(file)
        if number % ranks.count == ranks.rank and _crc(file) != crc:
            raise _damaged(file)


def _position(folder: Path) -> dict[str, Any]:
    try:
        position: dict[str, Any] = json.loads((folder / POSITION).read_text())
        sha256 = position.pop("sha256", None)
        if position["step"] is None or sha256 not in (None, hash_json(position)):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder / POSITION) from None
    return position


def _damaged(file: Path) -> UnusableInput:
    return UnusableInput(f"{file}: damaged; remove {file.parent}, and the same command resumes from what was before it")


def _crc(file: Path) -> int:
    """CRC-32 of a file, in constant memory: a gigabyte a second, next to the writing of it."""
    crc = 0
    with file.open("rb") as data:
        while piece := data.read(1 << 20):
            crc = zlib.crc32(piece, crc)
    return crc


def newest(state: Path) -> Path | None:
    """The last complete checkpoint, or None."""
    found = sorted(folder for folder in state.glob("step-*") if (folder / POSITION).is_file())
    return found[-1] if found else None


def metrics_then(state: Path) -> str | None:
    """sha256 of metrics.csv when the newest checkpoint was written, where one of ours says so."""
    last = newest(state)
    return _position(last).get("metrics") if last else None


def keep_newest(state: Path, kept: int) -> None:
    """Remove older checkpoints, and what a killed run left half-written."""
    for folder in [*sorted(state.glob("step-*"))[:-kept], *state.glob(".step-*.tmp")]:
        shutil.rmtree(folder)


def _tensors(parameters: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    held: dict[str, Tensor] = {}
    for name, weight in parameters.items():
        held[f"weight.{name}"] = weight.detach()
        for key in _MOMENTS:
            held[f"{key}.{name}"] = optimizer.state[weight][key]
    return held


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's warning where no ranks are; a full disk is a full disk, not an exception of torch's own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        try:
            yield
        except CheckpointException as error:
            for cause, _ in error.failures.values():
                if known := as_user_error(cause):
                    raise known from None
            raise
