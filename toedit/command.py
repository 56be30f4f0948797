"""From a composed Hydra configuration to a finished stage: strict checks, dry runs, exit codes, sweeps.

`run.py` is the command; this is what it needs beyond its table of stages.
"""

from __future__ import annotations

import atexit
import difflib
import errno
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, get_args, get_origin, get_type_hints

from toedit import executors
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.console import note, say
from toedit.errors import BadConfiguration, Interrupted, OutOfMemory, ToEditError


@dataclass(frozen=True)
class Stage:
    """One row of the table that `python run.py` prints."""

    module: str
    """Where its `plan` and `report` are; imported when the stage runs, not before."""
    reads: str
    writes: str
    example: str


# --- the table of stages ----------------------------------------------------------------------------------------------

STAGES: dict[str, Stage] = {}
"""By name; `run.py` fills it."""


def stage_module(name: str | None) -> ModuleType:
    """The module of a stage, imported now. Raises BadConfiguration where there is no such stage."""
    if name not in STAGES:
        raise BadConfiguration(f"stage={name}: choose one of {', '.join(STAGES)}")
    return importlib.import_module(STAGES[name].module)


# --- strict configuration ---------------------------------------------------------------------------------------------


def build_config(composed: Mapping[str, Any]) -> Config:
    """The typed configuration. Raises BadConfiguration naming the first key that does not belong or does not fit.

    Hydra adds any key that is written `+key=`, structured configuration or not; so every key is compared here.
    """
    config: Config = _build(Config, composed, "")
    return config


def _build(kind: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    known = get_type_hints(kind)
    arguments = {}
    for key, value in values.items():
        if key not in known:
            raise BadConfiguration(unknown_key(f"{prefix}{key}"))
        nested = known[key]
        named = get_args(nested)[1] if get_origin(nested) is dict else None  # sections by names of the user's choice
        if isinstance(nested, type) and is_dataclass(nested):
            value = _build(nested, value, f"{prefix}{key}.")
        elif isinstance(named, type) and is_dataclass(named):
            value = {name: _build(named, section, f"{prefix}{key}.{name}.") for name, section in value.items()}
        arguments[key] = value
    try:
        return kind(**arguments)
    except BadConfiguration as error:
        # A section used in several places (corpus, prior.corpus, plan.priors.*) names its keys by its class.
        message, own = str(error), kind.__name__.removesuffix("Config").lower()
        raise BadConfiguration(re.sub(rf"^{own}\.", prefix, message) if own else message) from None


def all_keys(kind: type[Any] = Config, prefix: str = "") -> list[str]:
    """Every key of the configuration, dotted."""
    hints = get_type_hints(kind)
    keys: list[str] = []
    for item in fields(kind):
        nested = hints[item.name]
        if isinstance(nested, type) and is_dataclass(nested):
            keys += all_keys(nested, f"{prefix}{item.name}.")
        else:
            keys.append(f"{prefix}{item.name}")
    return keys


def unknown_key(key: str) -> str:
    """`edit.pp: no such key; did you mean edit.p?`"""
    keys = all_keys()
    sections = {key.rpartition(".")[0] for key in keys} - {""}
    close = difflib.get_close_matches(key, [*keys, *sections], n=1, cutoff=0.5)
    return f"{key}: no such key" + (f"; did you mean {close[0]}?" if close else "")


def explain(error: Exception) -> str:
    """One line for an error of Hydra or OmegaConf, which speak in several."""
    text, cause = str(error).strip(), str(error.__cause__ or "").strip()
    listed = re.search(r"Available options in '([^']+)'", text)  # of `experiment`, for experiment=paper/ablation_p
    group = re.search(rf"Could not find '({re.escape(listed[1])})/([^']+)'", text) if listed else None
    if group:
        options = re.findall(r"^\t(?!provider)(\S+)$", text, re.MULTILINE)
        options += _choices_in_folders(group[1], re.findall(r"path=file://(.+)$", text, re.MULTILINE))
        close = difflib.get_close_matches(group[2], options, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{group[1]}={group[2]}: no such choice; {hint}there are {', '.join(options)}"
    full_key = re.search(r"full_key: (\S+)", f"{text}\n{cause}")
    if full_key and not re.match(r"Key '[^']*' (is )?not in", cause or text):
        return f"{full_key[1]}: {(cause or text).splitlines()[0]}"
    if override := re.search(r"Could not (?:override|delete from config\.) '([^'@]+)[^']*'", text):
        return unknown_key(override[1])
    return " ".join(text.splitlines()[:2]) or type(error).__name__


def _choices_in_folders(group: str, roots: Sequence[str]) -> list[str]:
    """Choices such as `paper/ablation_p`: Hydra lists a group's own files only."""
    folders = [Path(root) / group for root in roots]
    return sorted(
        file.relative_to(folder).with_suffix("").as_posix() for folder in folders for file in folder.glob("*/**/*.yaml")
    )


# --- one stage --------------------------------------------------------------------------------------------------------


def run_stage(stage: ModuleType, config: Config) -> dict[str, str]:
    """Plan, build and report one stage; return its row for the closing table of a sweep."""
    with executors.using(config.executor):
        artifact: Artifact = stage.plan(config)
        if config.dry_run:
            print_plan(artifact)
            return {}
        was_there = artifact.state() == "cached"
        path = artifact.ensure()
    row: dict[str, str] = stage.report(config, artifact)
    say(f"{'already there' if was_there else 'written'}: {path}")
    return row


def print_plan(artifact: Artifact) -> None:
    """The artifacts of a command, inputs first: what is cached, what would be built, at what cost."""
    ordered: dict[str, Artifact] = {}

    def visit(node: Artifact) -> None:
        if node.fingerprint in ordered:
            return
        for source in node.inputs.values():
            visit(source)
        ordered[node.fingerprint] = node

    visit(artifact)
    say("plan (nothing is built):")
    for node in ordered.values():
        state = node.state()
        say(f"  {node.kind:<14} {state:<11} {node.path}")
        if state != "cached" and node.estimate is not None:
            say("".join(f"      {key} {value}\n" for key, value in node.estimate().items()).rstrip("\n"))


# --- exit codes -------------------------------------------------------------------------------------------------------


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM ends the work like Ctrl-C, so that a scheduler's warning leads to exit code 75."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def as_user_error(error: BaseException) -> ToEditError | None:
    """The error as one line and an exit code, or None where it is a defect that deserves its traceback."""
    if isinstance(error, ToEditError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted; the same command resumes where it stopped")
    if full := _full_disk(error):
        return full
    if _lacks_memory(error):
        said = " ".join(str(error).split())[:150] or type(error).__name__
        return OutOfMemory(f"there is not enough memory ({said}); with more, the same command resumes where it stopped")
    if isinstance(error, OSError) and error.filename is not None:
        return ToEditError(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.errno in _DISK:  # Arrow names the file in its text
        return ToEditError(" ".join(str(error.strerror).split()))
    package = type(error).__module__.partition(".")[0]
    if package in ("joblib", "loky") and type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool"):
        return Interrupted(
            "a process of hydra/launcher=joblib ended unexpectedly (out of memory?); the same command resumes where it "
            "stopped"
        )
    if package in ("hydra", "omegaconf"):
        return BadConfiguration(explain(error))  # type: ignore[arg-type]
    return None


def end_with(error: ToEditError) -> int:
    """Say why the command ends; return its exit code."""
    note(f"error: {error}")
    if isinstance(error, OutOfMemory):
        atexit.register(_end_now, error.exit_code)  # registered last, it comes before those of libraries
    return error.exit_code


def _end_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


_DISK = (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EISDIR, errno.ENOTDIR, errno.ESTALE)
_FULL = re.compile(
    r"no space left on device|disk quota exceeded|\(os error (28|122)\)|"
    r"file write failed|unexpected pos \d+ vs \d+|"  # torch.save
    r"\d+ requested and \d+ written",  # numpy.save
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(
    r"(can'?t|[Cc]annot) allocate memory|out of memory|not enough memory|can't start new thread|"
    r"failed to map segment|bad_?alloc|"
    r"could not create a (primitive|memory)|"  # oneDNN, of a layer of torch
    r"^error return without exception set$"  # CPython 3.11, where the frame of a call gets none
)


def _full_disk(error: BaseException) -> Interrupted | None:
    """What it is where there was no room; libraries of Rust and C++ say so in errors of their own."""
    for one in _with_causes(error):
        where = one.filename2 or one.filename if isinstance(one, OSError) else None  # of a copy, its target
        if (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT)) or _FULL.search(str(one)):
            named = f" ({where})" if where else ""
            return Interrupted(f"the disk is full{named}; make room, and the same command resumes where it stopped")
    return None


def _lacks_memory(error: BaseException) -> bool:
    for one in _with_causes(error):
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM):
            return True
        if _NO_MEMORY.search(str(one)):
            return True
    return False


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
