"""Figure "methods": every line's test metric with its interval and single runs."""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.figures import style
from mcr_bench.bench.figures.style import GREY, INK, Mark, Marks, Missing
from mcr_bench.bench.figures.values import (
    Estimate,
    Unit,
    best,
    clipped,
    draw_interval,
    estimate,
    limits,
    measured,
    reading,
    runs_note,
)

STACK = 5  # single runs lie on so many heights, so that equal values stay apart
WIDER = 2.5  # unimodal lines may widen the axis by this factor; beyond, they are written at its edge


@style.styled
def methods(comparison: Comparison, look: Marks) -> Figure:
    """Test metric per line: mean with 95 % t interval, runs as dots, ensemble and best unimodal as vertical lines.

    Unimodal lines far from all others are written at the edge of the axis. Missing where no run is finished.
    """
    unit = Unit(comparison.metric)
    values = measured(comparison, unit)
    if not values:
        raise Missing("no finished run")
    estimates = {label: estimate(v, comparison.lines[label]) for label, v in values.items()}
    inside = _inside(values, comparison.of_role("unimodal"))
    figure, texts, notes = style.list_canvas(values, 0.55 + style.ROW * len(values))
    axes = figure.subplots()
    style.list_rows(axes, [texts[label] for label in values])
    shown = [e for label, e in estimates.items() if label in inside]
    bounds = limits([x for label in inside for x in values[label]], [b for e in shown for b in (e.low, e.high)])
    axes.set_xlim(*bounds)
    inside = [label for label, e in estimates.items() if bounds[0] <= e.mean <= bounds[1]]
    axes.set_xlabel(f"test {unit.name}")
    for row, label in enumerate(values):
        if label in inside:
            _row(axes, row, values[label], estimates[label], look[label])
        else:
            _outside(axes, row, estimates[label].mean)
    _references(figure, comparison, values, unit, inside)
    counts = runs_note(e.n for e in estimates.values())
    bars = reading(estimates.values(), f"bars: 95 % t interval over {counts} runs; dots: single runs")
    style.notes_below(figure, [bars, folds_note(comparison.rows), clipped(bounds, shown), *notes])
    return figure


def _inside(values: dict[str, list[float]], single: Sequence[str]) -> list[str]:
    """The lines whose values are within the axis."""
    kept = [label for label in values if label not in single] or list(values)
    ends = [x for label in kept for x in values[label]]
    if min(ends) == max(ends):  # one point says nothing of how far is far
        return list(values)
    low, high = limits(ends)
    for label in single:
        reach = [low, high, *values.get(label, ())]
        if max(reach) - min(reach) <= WIDER * (high - low) and label in values:
            kept.append(label)
    return list(dict.fromkeys(kept))


def _row(axes: Axes, row: int, values: list[float], estimate: Estimate, mark: Mark) -> None:
    heights = [row + 0.1 * (i % STACK - (STACK - 1) / 2) for i in range(len(values))]
    axes.plot(values, heights, "o", color=mark.colour, ms=2.4, mew=0, alpha=0.4, zorder=1)
    draw_interval(axes, row, estimate.low, estimate.high, mark.colour)
    axes.plot([estimate.mean], [row], mark.marker, color=mark.colour, ms=mark.size(4), mec="white", mew=0.4, zorder=3)


def _outside(axes: Axes, row: int, mean: float) -> None:
    low, high = axes.get_xlim()
    left = mean < low
    place, side, text = (low, "left", f"← {mean:.3g}") if left else (high, "right", f"{mean:.3g} →")
    axes.text(place, row, text, ha=side, va="center", color=GREY, size="small")


def _references(
    figure: Figure, comparison: Comparison, values: dict[str, list[float]], unit: Unit, inside: Sequence[str]
) -> None:
    (axes,) = figure.axes
    named = {
        "ensemble": (best(comparison.of_role("ensemble"), values, unit), INK, (0, (4, 2))),
        "best unimodal": (best(comparison.of_role("unimodal"), values, unit), GREY, (0, (1, 1.2))),
    }
    handles = {}
    for name, (label, colour, dashes) in named.items():
        if label is not None and label in inside:
            axes.axvline(fmean(values[label]), color=colour, ls=dashes, lw=0.8, zorder=0.5)
            handles[name] = Line2D([], [], color=colour, ls=dashes, lw=0.8)
    style.legend_above(figure, list(handles.values()), list(handles))
