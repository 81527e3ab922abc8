"""Figure "ranks": mean ranks over datasets, as a critical-difference diagram where there are enough of them."""

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcr_bench.bench.figures.style import (
    COLUMN,
    FAINT,
    GREY,
    INK,
    PAGE,
    ROW,
    Marks,
    Missing,
    canvas,
    list_rows,
    notes_below,
    shorten,
    styled,
)
from mcr_bench.bench.figures.values import Unit, measured
from mcr_bench.bench.report.lines import Comparison
from mcr_bench.bench.statistics.ranks import Ranks, rank

CHARACTER = 0.062  # inches: width of a letter of a label, on the safe side


def rank_datasets(comparisons: Iterable[Comparison]) -> Ranks:
    """Ranks of the methods that every dataset has, by mean test metric; the reason names those left out.

    Comparisons of one dataset share their data, so only one counts: that of most modalities, then of most runs.
    Unimodal lines do not count. Missing where no two methods are common to all.
    """
    chosen: dict[str, Comparison] = {}
    for found in comparisons:
        if found.lines:
            chosen[found.dataset] = max(chosen.get(found.dataset, found), found, key=_size)
    scores = pd.DataFrame({name: _scores(found) for name, found in chosen.items()}).T
    if scores.empty or scores.dropna(axis=1).shape[1] < 2:
        raise Missing("no two methods have finished runs on every dataset")
    missing = [str(name) for name in scores.columns[scores.isna().any()]]
    found_ranks = rank(scores.dropna(axis=1))
    notes = [found_ranks.reason, f"not on every dataset: {', '.join(missing)}" * bool(missing)]
    return replace(found_ranks, reason="; ".join(filter(None, notes)))


@styled
def rank_diagram(ranks: Ranks, look: Marks) -> Figure:
    """Critical-difference diagram (Demsar, JMLR 7, 2006): methods on a line of mean ranks, bars join the inseparable.

    Without a critical difference: mean ranks as dots, with the reason below.
    """
    return _dots(ranks, look) if ranks.critical_difference is None else _diagram(ranks, look)


def _size(found: Comparison) -> tuple[int, int]:
    return len(found.modalities), len(found.rows)


def _scores(found: Comparison) -> dict[str, float]:
    """label -> mean, turned so that higher is better."""
    unit = Unit(found.metric)
    sign = 1 if unit.higher_is_better else -1
    single = found.of_role("unimodal")
    return {m: sign * sum(v) / len(v) for m, v in measured(found, unit).items() if m not in single}


def _dots(ranks: Ranks, look: Marks) -> Figure:
    names = list(ranks.mean_ranks)
    texts, notes = shorten(names)
    figure = canvas(COLUMN, 0.5 + ROW * len(names))
    axes = figure.subplots()
    list_rows(axes, [texts[name] for name in names])
    axes.set_xlim(0.7, len(names) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"mean rank over {ranks.datasets} dataset(s), 1 is best")
    for row, (name, value) in enumerate(ranks.mean_ranks.items()):
        axes.plot([1, value], [row, row], color=FAINT, lw=1, zorder=1)
        axes.plot([value], [row], look[name].marker, color=look[name].colour, ms=5, zorder=2)
    notes_below(figure, [ranks.reason, *notes])
    return figure


def _diagram(ranks: Ranks, look: Marks) -> Figure:
    names, count = list(ranks.mean_ranks), len(ranks.mean_ranks)
    texts, notes = shorten(names)
    half = (count + 1) // 2
    figure = canvas(PAGE, 1.0 + 0.12 * len(ranks.cliques) + 0.17 * half)
    axes = figure.subplots()
    bars = 0.6 + 0.55 * len(ranks.cliques)
    side = CHARACTER * max(len(text) for text in texts.values()) + 0.15
    inch = (count - 0.6) / (PAGE - 2 * side - 0.1)  # in ranks
    axes.set_xlim(0.8 - side * inch, count + 0.2 + side * inch)
    axes.set_ylim(-(bars + half), 2.1)
    axes.set_axis_off()
    _scale(axes, count, ranks.critical_difference or 0.0, 0.06 * inch)
    for i, name in enumerate(names):
        left = i < half
        y = -(bars + (i if left else count - 1 - i) + 0.4)
        _method(
            axes, ranks.mean_ranks[name], y, texts[name], look[name].colour, 0.8 if left else count + 0.2, 0.05 * inch
        )
    for i, clique in enumerate(ranks.cliques):
        ends = [ranks.mean_ranks[clique[0]] - 0.04, ranks.mean_ranks[clique[-1]] + 0.04]
        axes.plot(ends, [-0.55 * (i + 1)] * 2, color=INK, lw=2.4, solid_capstyle="butt", zorder=3)
    p = "" if ranks.friedman is None else f"; Friedman p = {ranks.friedman:.2g}"
    reading = (
        f"mean rank over {ranks.datasets} datasets, 1 is best; bars join methods that Nemenyi does not separate{p}"
    )
    notes_below(figure, [reading, ranks.reason, *notes])
    return figure


def _scale(axes: Axes, count: int, cd: float, gap: float) -> None:
    """The line of ranks on top, and the critical difference above it."""
    axes.plot([1, count], [0, 0], color=INK, lw=0.8)
    for place in range(1, count + 1):
        axes.plot([place, place], [0, 0.25], color=INK, lw=0.8)
        axes.text(place, 0.4, str(place), ha="center", va="bottom", size="small")
    axes.plot([1, 1 + cd], [1.6, 1.6], color=INK, lw=1.2, marker="|", ms=5)
    axes.text(1 + cd + gap, 1.6, f"critical difference {cd:.2f}", va="center", size="small")


def _method(axes: Axes, value: float, y: float, text: str, colour: str, edge: float, gap: float) -> None:
    """A line from its rank down and out to its name at `edge`."""
    left = edge < 1
    axes.plot([value, value, edge], [0, y, y], color=colour, lw=0.9)
    axes.text(edge + (-gap if left else gap), y, text, ha="right" if left else "left", va="center")
    axes.text(edge, y + 0.05, f"{value:.2f}", ha="left" if left else "right", va="bottom", size="x-small", color=GREY)
