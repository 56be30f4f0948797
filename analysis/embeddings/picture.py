"""The picture of `analysis=embeddings`: documents in two dimensions by t-SNE, a colour and a shape a corpus.

t-SNE keeps neighbours together; distances between clusters, their sizes and the axes mean nothing. matplotlib and
scikit-learn are imported when the picture is made. The same embeddings and seed give the same points on one machine.

Shapes: N documents of all corpora, M different embeddings, H dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figure_files import drawing, plain
from analysis.figure_style import QUIET

COLOURS = ("#2f6da8", "#b45309", "#1b1f24")
MARKERS = ("o", "^", "s")
_LEAST = 8
"""Different embeddings that t-SNE needs; fewer are shown by their principal components."""
_LONGEST = 34
"""Characters of a corpus's name in the legend."""


def lay_out(
    vector_NH: NDArray[np.float64], perplexity: float, iterations: int, seed: int
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """`(point_N2, {method, perplexity})`. Equal embeddings share a point; too few of them are not laid out by t-SNE."""
    different_MH, place_N = np.unique(np.round(vector_NH, 6), axis=0, return_inverse=True)
    if len(different_MH) < _LEAST:
        return _principal(vector_NH), {"method": "principal components", "perplexity": None}
    from sklearn.manifold import TSNE

    used = min(perplexity, (len(different_MH) - 1) / 3)
    made = TSNE(2, perplexity=used, max_iter=iterations, init="pca", random_state=seed, n_jobs=1)
    point_M2 = made.fit_transform(different_MH).astype(np.float64)
    return point_M2[place_N.ravel()], {"method": "t-SNE", "perplexity": used}


def _principal(vector_NH: NDArray[np.float64]) -> NDArray[np.float64]:
    centred_NH = vector_NH - vector_NH.mean(axis=0)
    left_NK, size_K, _ = np.linalg.svd(centred_NH, full_matrices=False)
    point_NK = (left_NK * size_K)[:, :2]
    return np.pad(point_NK, ((0, 0), (0, 2 - point_NK.shape[1])))


def draw(point_N2: NDArray[np.float64], summary: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Write the picture to `paths`, by format."""
    with drawing(paths, 6.4, 5.6, layout=None) as figure:
        figure.subplots_adjust(left=0.06, right=0.98, top=0.86, bottom=0.06)
        axis = figure.subplots()
        _draw_points(axis, point_N2, [entry["documents"] for entry in summary["corpora"]])
        method = summary["tsne"]["method"]
        axis.set_xlabel(f"{method}, first dimension (no unit)")
        axis.set_ylabel(f"{method}, second dimension (no unit)")
        axis.set_xticks([])
        axis.set_yticks([])
        _draw_legend(figure, summary)
        for number, line in enumerate(_captions(summary)):
            written = figure.text(0.02, 0.985 - 0.032 * number, plain(line), fontsize=8, color=QUIET, va="top")
            written.set_parse_math(False)


def _draw_points(axis: Any, point_N2: NDArray[np.float64], sizes: list[int]) -> None:
    """In an order that mixes the corpora, so that none hides the others."""
    side_N = np.repeat(np.arange(len(sizes)), sizes)
    area = float(np.clip(6000 / len(side_N), 5, 40))
    chunks = np.array_split(np.random.default_rng(0).permutation(len(side_N)), min(20, len(side_N)))
    for chunk in chunks:
        for side in range(len(sizes)):
            own = chunk[side_N[chunk] == side]
            axis.scatter(
                point_N2[own, 0],
                point_N2[own, 1],
                s=area,
                marker=MARKERS[side],
                color=COLOURS[side],
                alpha=0.65,
                linewidths=0,
            )
    axis.margins(0.04)


def _draw_legend(figure: Any, summary: Mapping[str, Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markersize=6, label=plain(entry["name"])[:_LONGEST]
        )
        for entry, marker, colour in zip(summary["corpora"], MARKERS, COLOURS, strict=False)
    ]
    legend = figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.01, 0.925), ncols=3, frameon=False,
                           handletextpad=0.2, columnspacing=1.2, borderpad=0.2)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _captions(summary: Mapping[str, Any]) -> list[str]:
    tsne, corpora = summary["tsne"], summary["corpora"]
    made = f"{corpora[0]['documents']:,} documents of each corpus   model: {summary['model']}   {tsne['method']}"
    if tsne["perplexity"] is not None:
        made += f", perplexity {tsne['perplexity']:.3g}"
    lines = [made]
    pair = summary["pairs"][0]
    if pair["mmd2"] is not None:
        p_value = max(pair["mmd2"]["p_value"], pair["mmd2"]["p_bootstrap"] or 0.0)
        tested = f"squared MMD {pair['mmd2']['value']:.4f} (p = {p_value:.2g})"
        if pair["auc"] is not None:
            tested += f"   a linear classifier's area under the ROC curve {pair['auc']['value']:.3f}"
        lines.append(tested + ("   (first two corpora)" if len(corpora) > 2 else ""))
    return lines
