"""Training curves of a report (Figures 7 and 8): seeds side by side, smoothed, and drawn the same every time."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reports.curves import _smoothed, draw, read_curves
from toedit.errors import BadConfiguration, UnusableInput


def write_metrics(folder, losses):
    folder.mkdir(parents=True)
    lines = ["step,tokens,loss,val_loss"]
    lines += [f"{n},{100 * n},{'' if loss is None else loss}," for n, loss in enumerate(losses, start=1)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_seeds_are_cut_to_the_shortest_and_empty_entries_left_out(tmp_path):
    folders = [write_metrics(tmp_path / "a", [4, None, 3, 2]), write_metrics(tmp_path / "b", [5, 4, 3, 2, 1])]
    seen_E, value_SE = read_curves(folders, "loss")
    np.testing.assert_array_equal(seen_E, [100, 300, 400])  # the first seed's
    np.testing.assert_allclose(value_SE, [[4, 3, 2], [5, 4, 3]])  # so few entries are not smoothed


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=300))
def test_smoothing_keeps_the_range_and_a_constant(values):
    value_E = np.array(values)
    smoothed_E = _smoothed(value_E)
    assert smoothed_E.shape == value_E.shape
    assert smoothed_E.min() >= value_E.min() - 1e-9 and smoothed_E.max() <= value_E.max() + 1e-9
    np.testing.assert_allclose(_smoothed(np.full(len(values), 3.5)), 3.5)


def test_smoothing_is_the_mean_of_the_last_entries():
    value_E = np.arange(200.0)  # 2 % of 200: four entries
    np.testing.assert_allclose(_smoothed(value_E)[:5], [0, 0.5, 1, 1.5, 2.5])


@pytest.mark.parametrize(("column", "error"), [("los", BadConfiguration), ("val_loss", UnusableInput)])
def test_a_column_that_is_not_there_or_empty_is_named(tmp_path, column, error):
    with pytest.raises(error, match=rf"\b{column}\b"):
        read_curves([write_metrics(tmp_path / "a", [4, 3])], column)


def test_the_same_runs_give_the_same_picture(tmp_path):
    folders = {
        "0 %": [write_metrics(tmp_path / f"0-{seed}", [4 - 0.1 * n + seed for n in range(9)]) for seed in range(2)],
        "100 %": [write_metrics(tmp_path / "1", [3 - 0.1 * n for n in range(9)])],
    }
    part = SimpleNamespace(config=SimpleNamespace(curves="loss", input="checkpoint"))
    points = {
        name: [SimpleNamespace(inputs={"checkpoint": SimpleNamespace(path=folder)}) for folder in made]
        for name, made in folders.items()
    }
    found = SimpleNamespace(part=part, settings=list(points), points=points.__getitem__)
    for name in ("once", "twice"):
        draw(found, {"png": tmp_path / f"{name}.png", "svg": tmp_path / f"{name}.svg"})
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "twice.png").read_bytes()
    drawn = (tmp_path / "once.svg").read_text(encoding="utf-8")
    assert drawn == (tmp_path / "twice.svg").read_text(encoding="utf-8")
    points["100 %"] = points["0 %"]
    draw(found, {"svg": tmp_path / "other.svg"})
    assert (tmp_path / "other.svg").read_text(encoding="utf-8") != drawn
