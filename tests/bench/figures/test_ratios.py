"""The axis of costs: labels of ticks do not touch, marks of equal cost lie side by side."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from mcr_bench.bench.figures.pareto import pareto
from mcr_bench.bench.figures.ratios import MARK, factor, fitting, side_by_side
from mcr_bench.bench.figures.style import RC, text_width
from mcr_bench.tests.support.records.figure_rows import compared, line, look

COSTS = {
    "wide": [1, 1e6],
    "decades": [1, 2, 5, 11, 60, 130, 700, 2500],
    "just logarithmic": [1, 3.05],
    "narrow": [1, 1.0003, 1.0001],
    "far from one": [1, 1000, 1003],
    "equal": [1.0] * 5,
    "fractions": [1, 0.004, 0.3],
}


def drawn(costs: list[float]) -> Figure:
    lines = [line("base", [0.6, 0.62], seconds=0.01)]
    lines += [line(f"m{i}", [0.6 + i / 100, 0.63 + i / 100], seconds=0.01 * cost) for i, cost in enumerate(costs)]
    found = compared(*lines)
    return pareto(found, look(found), "base")


@pytest.mark.parametrize("costs", COSTS.values(), ids=COSTS)
def test_labels_of_ticks_stand_apart(costs: list[float]) -> None:
    figure = drawn(costs)
    with matplotlib.rc_context(RC):
        figure.draw_without_rendering()
    for axes in figure.axes:
        texts = [text for text in axes.get_xticklabels() if text.get_text()]
        boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.x0)
        assert boxes, "an axis without a tick says nothing"
        assert all(a.x1 + 1 < b.x0 for a, b in pairwise(boxes)), [text.get_text() for text in texts]


@pytest.mark.parametrize("costs", COSTS.values(), ids=COSTS)
def test_no_mark_covers_another(costs: list[float]) -> None:
    figure = drawn(costs)
    for axes in figure.axes:
        marks = [artist for artist in axes.lines if artist.get_markersize() >= 5]
        places = sorted(float(axes.transData.transform((np.asarray(a.get_xdata())[0], 1.0))[0]) for a in marks)
        assert len(places) == len(costs) + 1
        assert min(b - a for a, b in pairwise(places)) / figure.dpi > 0.85 * MARK


def test_places_by_hand() -> None:
    limits, width = (1.0, 2.0), 1.0  # an inch for the whole range
    assert side_by_side({"a": 1.1, "b": 1.5}, limits, width) == {"a": 1.1, "b": 1.5}
    found = side_by_side({"a": 1.5, "b": 1.5, "c": 1.5}, limits, width)
    assert list(found.values()) == pytest.approx([1.5 - MARK, 1.5, 1.5 + MARK])
    chain = side_by_side({"a": 1.5, "b": 1.5, "c": 1.5 + MARK}, limits, width)  # moving a and b apart reaches c
    assert list(chain.values()) == pytest.approx([1.5 + MARK / 3 + MARK * i for i in (-1, 0, 1)])
    edge = side_by_side({"a": 2.0, "b": 2.0}, limits, width)
    assert list(edge.values()) == pytest.approx([2 - MARK, 2.0])


def test_many_marks_keep_their_cost() -> None:
    """Moved apart they would fill the axis, and be read at costs that they do not have."""
    costs = {str(i): 1.0 for i in range(40)} | {"slow": 1.01}
    assert side_by_side(costs, (0.9, 1.1), 1.0) == costs


def test_ticks_are_the_densest_that_fit() -> None:
    assert fitting((0.8, 125.0), 3.0, True) == [1, 2, 5, 10, 20, 50, 100]
    assert fitting((0.8, 125.0), 2.2, True) == [1, 3, 10, 30, 100]
    assert fitting((0.8, 125.0), 1.4, True) == [1, 10, 100]
    assert text_width(factor(1.5), 7) < text_width(factor(1.0015), 7)
