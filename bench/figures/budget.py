"""Figure "budget": the expected best validation value of tuning against the number of trials."""

from collections.abc import Iterable
from math import log2
from statistics import median

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from mcr_bench.bench.figures.style import (
    COLUMN,
    Marks,
    Missing,
    canvas,
    handle,
    legend_above,
    notes_below,
    shorten,
    styled,
)
from mcr_bench.bench.figures.values import Unit

COLUMNS = ("method", "budget", "expected")
WIDER = 2.5  # a line may widen the range of the others by this factor, as in figure "methods"
MANY = 8  # trials from which the axis is logarithmic


@styled
def budget(curves: pd.DataFrame, look: Marks, metric: str) -> Figure:
    """Expected best validation value of each method (columns method, budget, expected) after so many trials.

    Lines far from all others are written below the axes. Missing where there is no finite value.
    """
    kept = curves.loc[:, list(COLUMNS)].dropna()
    if kept.empty:
        raise Missing("nothing has been tuned")
    unit = Unit(metric)
    lines = {str(m): g.sort_values("budget") for m, g in kept.groupby("method", sort=True)}
    inside = _inside({label: line["expected"] * unit.factor for label, line in lines.items()})
    figure = canvas(COLUMN, 2.1)
    axes = figure.subplots()
    axes.grid(True, axis="y")
    for label in inside:
        line, mark = lines[label], look[label]
        every = max(1, len(line) // 6)
        axes.plot(line["budget"], line["expected"] * unit.factor, color=mark.colour, ls=mark.dashes, marker=mark.marker,
                  markevery=every, ms=mark.size(3.5), mec="white", mew=0.3)  # fmt: skip
    largest = int(kept["budget"].max())
    if largest >= MANY:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([2**i for i in range(int(log2(largest)) + 1)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("trials")
    axes.set_ylabel(f"expected best validation\n{unit.name}")
    texts, notes = shorten(lines)
    legend_above(figure, [handle(look[label]) for label in inside], [texts[label] for label in inside])
    ends = {label: line["expected"] * unit.factor for label, line in lines.items() if label not in inside}
    far = [f"{label} ({v.iloc[0]:.1f} to {v.iloc[-1]:.1f})" for label, v in ends.items()]
    notes_below(figure, [f"beyond the axis: {', '.join(far)}" if far else "", *notes])
    return figure


def _inside(curves: dict[str, pd.Series]) -> list[str]:
    """The lines for the axis: as long as the farthest line widens the range of the others too much, it is left out."""
    kept = dict(curves)
    while len(kept) > 2:
        center = median(float(v.mean()) for v in kept.values())
        far = max(kept, key=lambda label: abs(float(kept[label].mean()) - center))
        others = [v for label, v in kept.items() if label != far]
        if _span(kept.values()) <= WIDER * _span(others):
            break
        del kept[far]
    return list(kept)


def _span(curves: Iterable[pd.Series]) -> float:
    values = pd.concat(list(curves))
    return float(values.max() - values.min())
