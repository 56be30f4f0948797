"""One figure written in several formats, the same bytes from the same data.

    with drawing({"png": path, "pdf": path}, width=6, height=4) as figure:
        figure.subplots().plot(...)

matplotlib is imported when a figure is drawn, and no state of its pyplot is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from analysis.figure_style import METADATA, STYLE

FORMATS = ("png", "pdf", "svg")


@contextmanager
def drawing(
    paths: Mapping[str, Path], width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Iterator[Any]:
    """A matplotlib figure of `width` x `height` inches in our style; written to `paths` when the block ends.

    `layout` is the engine's name; None where the figure places its own parts.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():  # whatever the user's own matplotlibrc says
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout=layout)
        yield figure
        if layout is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once, not once a format
        for extension, path in paths.items():
            figure.savefig(path, format=extension, dpi=200, metadata=METADATA[extension])


def plain(text: str) -> str:
    """Names are the user's: characters that the font may lack are spelt out."""
    return text.encode("ascii", "backslashreplace").decode()
