"""One figure written in several formats, the same bytes from the same data.

    with drawing({"png": path, "pdf": path}, width=6, height=4) as figure:
        figure.subplots().plot(...)

matplotlib is imported when a figure is drawn, and no state of its pyplot is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.figure_style import METADATA, STYLE

FORMATS = ("png", "pdf", "svg")


@contextmanager
def drawing(paths: Mapping[str, Path], width: float, height: float) -> Iterator[Any]:
    """A matplotlib figure of `width` x `height` inches in our style; written to `paths` when the block ends."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():  # whatever the user's own matplotlibrc says
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not once a format
        for extension, path in paths.items():
            figure.savefig(path, format=extension, dpi=200, metadata=METADATA[extension])
