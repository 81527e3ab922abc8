"""Figure "budget": the best validation value to be expected from tuning against the number of trials."""

from math import log2

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
MANY = 8  # trials from which the axis is logarithmic


@styled
def budget(curves: pd.DataFrame, look: Marks, metric: str) -> Figure:
    """Expected best validation value of each method (columns method, budget, expected) after so many trials.

    Missing where there is no finite value.
    """
    kept = curves.loc[:, list(COLUMNS)].dropna()
    if kept.empty:
        raise Missing("nothing has been tuned")
    unit = Unit(metric)
    lines = {str(m): g.sort_values("budget") for m, g in kept.groupby("method", sort=True)}
    figure = canvas(COLUMN, 2.1)
    axes = figure.subplots()
    axes.grid(True, axis="y")
    for label, line in lines.items():
        mark, every = look[label], max(1, len(line) // 6)
        axes.plot(line["budget"], line["expected"] * unit.factor, color=mark.colour, ls=mark.dashes, marker=mark.marker,
                  markevery=every, ms=3.5, mec="white", mew=0.3)  # fmt: skip
    largest = int(kept["budget"].max())
    if largest >= MANY:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([2**i for i in range(int(log2(largest)) + 1)]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trials")
    axes.set_ylabel(f"expected best validation\n{unit.name}")
    texts, notes = shorten(lines)
    legend_above(figure, [handle(look[label]) for label in lines], [texts[label] for label in lines])
    notes_below(figure, notes)
    return figure
