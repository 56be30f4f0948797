"""The editors by name (`edit.sampler`): what each draws, which settings it reads, what it needs of the scores.

An editor is a function of one shard's scores, the prior's tokenizer and the settings; `docs/editors.md` has the table
of ours. Another package adds its own through an entry point of the group `toedit.editors` that names an `Editor`:

    [project.entry-points."toedit.editors"]
    my_editor = "my_package:my_editor"
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.config import EditConfig
from toedit.editing import Draws, Floats, is_eligible
from toedit.editors import controls, deletion, resampling
from toedit.errors import BadConfiguration
from toedit.scores import ShardScores
from toedit.tokenizing import PriorTokenizer

GROUP = "toedit.editors"


@dataclass(frozen=True)
class Editor:
    """One way to edit."""

    draw: Callable[[ShardScores, PriorTokenizer, EditConfig], Draws]
    """`index_E` of the result counts the T tokens of the shard; a new id of -1 deletes the token."""
    keys: tuple[str, ...]
    """The keys of `EditConfig` it reads: they define its result, and other keys are refused. With `p` it needs
    candidates for P >= p, with `k` so many of them."""
    every_position: bool = False
    """It needs candidates at every scored token (score.min_p=0)."""
    package: str | None = None
    """Name and version of the package it comes from, where that is not this one."""


def nothing(scores: ShardScores, tokenizer: PriorTokenizer, edit: EditConfig) -> Draws:
    """Change nothing: the control arm."""
    empty = np.empty(0, np.int64)
    return Draws(empty, empty, np.empty(0), np.empty(0, bool), 0.0)


# No editor reads these, and all obey them: the seed follows the root's, the others say what is scored and may change.
_FOR_ALL = ("seed", "protect", "condition_on_prompt")
_CONFIDENT = ("p", "strict")
_TOP_K = (*_CONFIDENT, "k", "temperature", "seed")

EDITORS = {
    "top_k": Editor(resampling.top_k, _TOP_K),
    "top_p": Editor(resampling.top_p, (*_CONFIDENT, "top_p", "temperature", "seed")),
    "rejection": Editor(resampling.rejection, (*_TOP_K, "tries")),
    "exclude_original": Editor(resampling.exclude_original, _TOP_K),
    "delete": Editor(deletion.delete, ("delete_below", "delete_above")),
    "delete_then_resample": Editor(deletion.delete_then_resample, ("delete_below", *_TOP_K)),
    "random_positions": Editor(controls.random_positions, _TOP_K, every_position=True),
    "random_replacement": Editor(controls.random_replacement, _TOP_K),
    "low_probability": Editor(controls.low_probability, _TOP_K, every_position=True),
    "none": Editor(nothing, _TOP_K),  # it reads none of them, but stands in a sweep beside those that do
}


def find_editor(name: str) -> Editor:
    """The editor of that name: ours, else an installed package's. Raises BadConfiguration where there is none."""
    if name in EDITORS:
        return EDITORS[name]
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name in installed:
        return _load(installed[name])
    names = [*EDITORS, *sorted(installed.keys() - EDITORS.keys())]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    raise BadConfiguration(f"edit.sampler={name}: no such editor; {hint}there are {', '.join(names)}")


def rule(edit: EditConfig) -> str:
    """The edit in a phrase, for people: `P >= 0.99, k = 8, temperature 1`."""
    if edit.sampler == "none":
        return "no edit"
    keys = find_editor(edit.sampler).keys
    parts = [edit.sampler] if edit.sampler != "top_k" else []
    parts += [f"P {'>' if edit.strict else '>='} {edit.p:g}"] if "p" in keys else []
    parts += [f"k = {edit.k}"] if "k" in keys else []
    parts += [f"top_p {edit.top_p:g}"] if "top_p" in keys else []
    parts += [f"temperature {edit.temperature:g}"] if "temperature" in keys else []
    parts += [f"{edit.tries} tries"] if "tries" in keys else []
    parts += [f"delete P < {edit.delete_below:g}"] if edit.delete_below > 0 else []
    parts += [f"delete P > {edit.delete_above:g}"] if edit.delete_above < 1 else []
    parts += [f"protecting {', '.join(sorted(set(edit.protect)))}"] if edit.protect else []
    return ", ".join(parts)


def refuse_unread_keys(edit: EditConfig, editor: Editor) -> None:
    """Raise BadConfiguration naming a key that was set for nothing: the user expects an effect that is not there."""
    for field in fields(EditConfig):
        value = getattr(edit, field.name)
        if field.name not in ("name", "sampler", *_FOR_ALL, *editor.keys) and value != field.default:
            raise BadConfiguration(
                f"edit.{field.name}={value}: edit.sampler={edit.sampler} does not read it; "
                f"it reads {', '.join(f'edit.{key}' for key in editor.keys) or 'no key'}"
            )


def identity_of(edit: EditConfig, editor: Editor) -> dict[str, Any]:
    """What defines the result: the editor and the settings it reads. A preset's name says nothing that these do not."""
    values = asdict(edit)
    identity = {key: values[key] for key in ("sampler", *editor.keys)}
    identity |= {"protect": sorted(set(edit.protect))} if edit.protect else {}
    return identity | ({"package": editor.package} if editor.package else {})


def settings_of(identity: Mapping[str, Any]) -> EditConfig:
    """The settings behind the identity in a manifest; keys that the editor does not read have their default."""
    return EditConfig(**{key: value for key, value in identity.items() if key != "package"})


def may_change(logprob_T: Floats, edit: EditConfig) -> NDArray[np.bool_]:
    """The eligible tokens: those that meet the editor's condition, whatever it draws there."""
    editor = find_editor(edit.sampler)
    if editor.every_position:
        return ~np.isnan(logprob_T)
    deleted_T = deletion.is_deleted(logprob_T, edit.delete_below, edit.delete_above)
    resamples = "p" in editor.keys and edit.sampler != "none"
    return deleted_T | is_eligible(logprob_T, edit.p, edit.strict) if resamples else deleted_T


def _load(point: EntryPoint) -> Editor:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    try:
        editor = point.load()
    except Exception as error:  # somebody else's module: anything can go wrong in it
        raise BadConfiguration(
            f"edit.sampler={point.name}: {point.value} of {package} cannot be loaded "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error
    if not isinstance(editor, Editor):
        raise BadConfiguration(f"edit.sampler={point.name}: {point.value} of {package} is no toedit.editors.Editor")
    if unknown := sorted(set(editor.keys) - {field.name for field in fields(EditConfig)}):
        raise BadConfiguration(
            f"edit.sampler={point.name}: {package} reads edit.{unknown[0]}, and there is no such key"
        )
    return replace(editor, package=package)
