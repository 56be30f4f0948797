"""The picture of `theory=beyond_text`: before and after, what changed, and how far the laws moved.

Shapes: T tokens, H rows and W columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import INK, QUIET
from analysis.intervals import student
from analysis.theory.beyond_text.generations import PRIORS
from analysis.theory.beyond_text.sources import LEVELS, PITCHES, Source
from analysis.theory.study import Rows
from toedit.editing import Ints as AnyInts

_COLOURS = {"fixed": "#d55e00", "own": "#0072b2"}
_CHANGED = (0xD5 / 255, 0x5E / 255, 0.0)
_STEPS = 128
"""Of the melody that are shown, from its beginning."""


def draw(
    rows: Rows, sources: Mapping[str, Source], after: Mapping[tuple[str, str], AnyInts], paths: Mapping[str, Path]
) -> None:
    """Write the picture to `paths`, by format."""
    bands = [2.3 if "image" in sources else 0, 1.9 if "melody" in sources else 0, 2.6]
    heights = [height for height in bands if height]
    with drawing(paths, width=10, height=sum(heights)) as figure:
        parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        if "image" in sources:
            _draw_images(parts.pop(0), sources["image"], after)
        if "melody" in sources:
            _draw_melodies(parts.pop(0), sources["melody"], after)
        _draw_distances(parts.pop(0), rows, list(sources))


def _draw_images(figure: Any, source: Source, after: Mapping[tuple[str, str], AnyInts]) -> None:
    assert source.width is not None
    original_HW = source.token_id_T.reshape(-1, source.width)
    axes = figure.subplots(1, 1 + 2 * len(PRIORS))
    _show(axes[0], _grey(original_HW), "original")
    for number, prior_is in enumerate(PRIORS):
        edited_HW = after["image", prior_is].reshape(original_HW.shape)
        is_changed_HW = edited_HW != original_HW
        _show(axes[1 + 2 * number], _grey(edited_HW), f"{prior_is} prior")
        faded_HW3 = 0.75 + 0.25 * _grey(original_HW)
        faded_HW3[is_changed_HW] = _CHANGED
        _show(axes[2 + 2 * number], faded_HW3, f"changed: {is_changed_HW.mean():.1%}")


def _grey(level_HW: AnyInts) -> Any:
    return np.repeat((level_HW / (LEVELS - 1))[:, :, None], 3, axis=2)


def _show(axis: Any, picture_HW3: Any, title: str) -> None:
    axis.imshow(picture_HW3, interpolation="nearest", vmin=0, vmax=1)
    axis.set_axis_off()
    axis.set_title(title, fontsize=9, loc="left")


def _draw_melodies(figure: Any, source: Source, after: Mapping[tuple[str, str], AnyInts]) -> None:
    axes = figure.subplots(1, len(PRIORS), sharey=True)
    original_T = source.token_id_T
    step_S = np.arange(min(_STEPS, len(original_T)))
    for axis, prior_is in zip(axes, PRIORS, strict=True):
        edited_T = after["melody", prior_is]
        is_same_S = edited_T[step_S] == original_T[step_S]
        for tokens_T, shown_S, colour, label in (
            (original_T, is_same_S, INK, "as it was"),
            (original_T, ~is_same_S, "#b9c0c8", "before"),
            (edited_T, ~is_same_S, _COLOURS["fixed"], "after"),
        ):
            sounding_S = shown_S & (tokens_T[step_S] < PITCHES)
            axis.barh(tokens_T[step_S][sounding_S], 0.9, left=step_S[sounding_S], height=0.8, color=colour, label=label)
        axis.set_title(
            f"melody, {prior_is} prior: {(edited_T != original_T).mean():.1%} changed", fontsize=9, loc="left"
        )
        axis.set_xlabel("step")
        axis.set_ylim(-0.6, PITCHES + 3.4)
    axes[0].set_ylabel("note")
    axes[-1].legend(frameon=False, fontsize=7.5, ncols=3, loc="upper right", handlelength=1)


def _draw_distances(figure: Any, rows: Rows, names: list[str]) -> None:
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        for prior_is in PRIORS:
            own = [row for row in rows if (row["sequence"], row["prior"]) == (name, prior_is)]
            rounds = sorted({row["generation"] for row in own})
            values = [[row["distance"] for row in own if row["generation"] == number] for number in rounds]
            bands = [student(found) or (found[0], found[0]) for found in values]
            means = [float(np.mean(found)) for found in values]
            axis.plot(rounds, means, color=_COLOURS[prior_is], linewidth=1.3, label=f"{prior_is} prior")
            low, high = zip(*bands, strict=True)
            axis.fill_between(rounds, low, high, color=_COLOURS[prior_is], alpha=0.25, linewidth=0)
            expected = [next(row["distance_expected"] for row in own if row["generation"] == n) for n in rounds]
            axis.plot(rounds, expected, color=_COLOURS[prior_is], linestyle=(0, (4, 2)), linewidth=1)
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_xlabel("round of editing")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
    axes[0].set_ylabel("total variation to the original")
    axes[0].plot([], [], color=QUIET, linestyle=(0, (4, 2)), linewidth=1, label="expected")
    axes[0].legend(frameon=False, fontsize=7.5, loc="upper left")
