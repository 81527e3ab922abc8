"""Axes of figures on small records: ticks that can be read, whole epochs, lines that lie on the axis."""

from itertools import pairwise

import matplotlib
import pytest
from matplotlib.figure import Figure

from mcr_bench.bench.figures.forest import forest
from mcr_bench.bench.figures.methods import methods
from mcr_bench.bench.figures.pareto import pareto
from mcr_bench.bench.figures.race import race
from mcr_bench.bench.figures.style import BLANK, DPI, RC
from mcr_bench.tests.support.records.figure_rows import compared, line, look, small


def labels_of(figure: Figure, axes: int = 0) -> list[str]:
    """The labels of ticks along x, which stand apart."""
    with matplotlib.rc_context(RC):
        figure.draw_without_rendering()
        texts = [text for text in figure.axes[axes].get_xticklabels() if text.get_text()]
        boxes = [text.get_window_extent() for text in texts]
    assert all(b.x0 - a.x1 >= 0.9 * BLANK * DPI for a, b in pairwise(boxes)), [text.get_text() for text in texts]
    return [text.get_text() for text in texts]


@pytest.mark.parametrize("step", [0.0275, 0.0011, 31.25, 12345.678])
def test_ticks_of_differences_stand_apart(step: float) -> None:
    lines = [line(name, [7 + k * step, 7.1 + k * step, 7.3], metric="mae") for k, name in enumerate(("x", "y", "zz"))]
    found = compared(line("ensemble", [7.0, 7.2, 7.1], "ensemble", metric="mae"), *lines)
    assert len(labels_of(forest(found, look(found)))) >= 2


def test_one_epoch_is_one_whole_tick() -> None:
    found = small()
    figure = race(found, look(found), lambda _: {f"val/modality/{m}/accuracy": [(1, 0.5)] for m in ("audio", "video")})
    named = [i for i, axes in enumerate(figure.axes) if axes.get_xlabel()]
    assert named
    for i in named:
        low, high = figure.axes[i].get_xlim()
        assert [text for text in labels_of(figure, i) if low <= float(text) <= high] == ["1"]


@pytest.mark.parametrize("values", [[0.575], [0.575, 0.575]])
def test_one_value_does_not_push_unimodal_lines_off_the_axis(values: list[float]) -> None:
    found = compared(line("unimodal (audio)", [0.325], "unimodal", modalities=("audio",)), line("joint", values))
    low, high = methods(found, look(found)).axes[0].get_xlim()
    assert low < 32.5
    assert high > 57.5


@pytest.mark.parametrize("best", [0, 1, 3])
def test_the_front_begins_at_its_own_mark_among_marks_of_equal_cost(best: int) -> None:
    found = compared(*(line(name, [0.5 + 0.2 * (i == best)]) for i, name in enumerate(("base", "b", "c", "d"))))
    marks = look(found)
    axes = pareto(found, marks, "base").axes[1]
    (front,) = (one for one in axes.lines if one.get_drawstyle() == "steps-post")
    mark = next(one for one in axes.lines if one.get_color() == marks[("base", "b", "c", "d")[best]].colour)
    assert front.get_xdata()[0] == mark.get_xdata()[0]
