"""The picture of `theory=phase_diagram`: three maps, their contours with bands, closed forms dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figure_files import drawing
from analysis.figure_style import INK
from analysis.theory.study import Rows
from analysis.theory.threshold.estimate import Floats
from analysis.theory.threshold.phase_diagram import FIXED, RANDOM, TOKENS, fixed_contour, random_contour


def draw(rows: Rows, contours: Sequence[float], epsilons: Sequence[float], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    with drawing(paths, width=12, height=3.7) as figure:
        axes = figure.subplots(1, 3)
        for axis, name in zip(axes, (RANDOM, FIXED), strict=False):
            _draw_regression(figure, axis, [row for row in rows if row["map"] == name], name, contours)
        _draw_tokens(figure, axes[2], [row for row in rows if row["map"] == TOKENS], epsilons)


def _grid(rows: Rows, key: str) -> tuple[Floats, Floats, Floats]:
    """(x, y, value_yx)."""
    x, y = (np.array(sorted({row[axis] for row in rows})) for axis in ("x", "y"))
    value = {(row["x"], row["y"]): row[key] for row in rows}
    return x, y, np.array([[value[at, over] for at in x.tolist()] for over in y.tolist()])


def _draw_regression(figure: Any, axis: Any, rows: Rows, name: str, contours: Sequence[float]) -> None:
    share, generation, value = _grid(rows, "value")
    shown = axis.pcolormesh(100 * share, generation, np.log2(value), cmap="cividis", shading="nearest", rasterized=True)
    bar = figure.colorbar(shown, ax=axis, label="error by the first generation's")
    ticks = [tick for tick in (1, 2, 4, 8, 16, 32, 64) if np.log2(tick) <= np.log2(value).max()]
    bar.set_ticks([float(np.log2(tick)) for tick in ticks], labels=[str(tick) for tick in ticks])
    if name == RANDOM:  # everything happens at small shares
        axis.set_xscale("function", functions=(_root, np.square))
        axis.set_xticks([0, 1, 5, 10, 25, 50, 75, 100])
    last = float(generation[-1])
    places = [
        (100 * (random_contour(kappa, round(0.7 * last)) if name == RANDOM else fixed_contour(kappa)), 0.7 * last)
        for kappa in sorted(contours)
    ]
    _draw_contours(axis, (100 * share, generation, value), contours, places)
    for end in ("low", "high"):
        _, _, band = _grid(rows, end)
        levels = [kappa for kappa in sorted(contours) if band.min() < kappa < band.max()]
        axis.contour(
            100 * share, generation, band, levels=levels or None, colors="white", linewidths=0.5 if levels else 0
        )
    rounds = np.linspace(1, generation[-1], 200)
    for kappa in contours:
        closed = (
            [random_contour(kappa, n) if n >= kappa - 1 else np.nan for n in rounds]
            if name == RANDOM
            else np.full(len(rounds), fixed_contour(kappa))
        )
        axis.plot(100 * np.array(closed), rounds, color="white", linestyle=(0, (4, 3)), linewidth=0.9)
    axis.set_xlim(0, 100)
    axis.set_ylim(0, generation[-1])
    axis.set_xlabel("edited share of the rows, %")
    axis.set_ylabel("generation")
    axis.set_title(f"regression, {name} (dashed: closed form)", fontsize=9.5, loc="left")


def _root(share: Any) -> Any:
    return np.sqrt(np.maximum(share, 0))


def _draw_contours(
    axis: Any, grid: tuple[Floats, Floats, Floats], levels: Sequence[float], places: list[tuple[float, float]]
) -> None:
    """White lines with a dark rim, named at the places."""
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2.4, foreground=INK)]
    x, y, value = grid
    there = {
        level: place for level, place in zip(sorted(levels), places, strict=True) if value.min() < level < value.max()
    }
    if not there:
        return
    drawn = axis.contour(x, y, value, levels=list(there), colors="white", linewidths=1.2)
    drawn.set_path_effects(rim)
    for text in axis.clabel(drawn, fmt="%g", fontsize=8, manual=list(there.values())):
        text.set_path_effects(rim)


def _draw_tokens(figure: Any, axis: Any, rows: Rows, epsilons: Sequence[float]) -> None:
    closed = [row for row in rows if row["how"] == "closed form"]
    simulated = [row for row in rows if row["how"] == "simulated"]
    real, synthetic, value = _grid(closed, "value")
    ends = {"vmin": float(np.log10(value).min()), "vmax": float(np.log10(value).max())}
    shown = axis.pcolormesh(
        real, synthetic, np.log10(value), cmap="cividis", shading="nearest", rasterized=True, **ends
    )
    bar = figure.colorbar(shown, ax=axis, label="drift, L1")
    ticks = [tick for tick in (0.001, 0.01, 0.1, 1) if ends["vmin"] <= np.log10(tick) <= ends["vmax"]]
    bar.set_ticks([float(np.log10(tick)) for tick in ticks], labels=[f"{tick:g}" for tick in ticks])
    k, n = float(value[-1, 0] ** 2 * real[0] * (real[0] + 2 * synthetic[-1]) / synthetic[-1]), 1000.0
    # N where the drift at n is epsilon.
    places = [(float(np.sqrt(n * n + k * n / epsilon**2)) - n, n) for epsilon in sorted(epsilons)]
    _draw_contours(axis, (real, synthetic, value), epsilons, places)
    axis.scatter(
        [row["x"] for row in simulated],
        [row["y"] for row in simulated],
        c=[np.log10(max(row["value"], 1e-9)) for row in simulated],
        cmap="cividis",
        edgecolors="white",
        linewidths=0.8,
        s=34,
        clip_on=False,
        zorder=3,
        **ends,
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("real tokens N")
    axis.set_ylabel("synthetic tokens n")
    axis.set_title("next token, settled (dots: simulated)", fontsize=9.5, loc="left")
