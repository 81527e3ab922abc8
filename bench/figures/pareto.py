"""Figure "pareto": the test result of each method against its cost."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import baseline_of_costs
from mcr_bench.bench.figures.ratios import ratio_axis, side_by_side
from mcr_bench.bench.figures.style import (
    GREY,
    INK,
    PAGE,
    Marks,
    Missing,
    canvas,
    handle,
    legend_above,
    notes_below,
    shorten,
    styled,
)
from mcr_bench.bench.figures.values import (
    Estimate,
    Unit,
    best,
    draw_interval,
    estimate,
    limits,
    measured,
    reading,
    runs_note,
)
from mcr_bench.bench.record.row import RunRow

PASSES = "encoder passes per step"
MARGINS = 0.9  # inches of the page beside the panels: labels of the common axis, and what lies between them


@styled
def pareto(comparison: Comparison, look: Marks, cost_baseline: str) -> Figure:
    """Test metric against step time and encoder passes, both relative to method `cost_baseline`.

    A line's costs are relative to the same line as in the table. The front is decided by passes alone: time is as
    measured, beside whatever else the machine did. Lines that train nothing themselves have no cost: the ensemble is a
    horizontal line. Unimodal lines are left out.
    Missing where the baseline, or every cost, is missing.
    """
    unit, single = Unit(comparison.metric), comparison.of_role("unimodal")
    values = {label: v for label, v in measured(comparison, unit).items() if label not in single}
    if comparison.plainest(cost_baseline) is None:
        raise Missing(f"no finished run of {cost_baseline}, to which costs are relative")
    costs = {
        "step time": _relative(comparison, cost_baseline, _step_time),
        PASSES: _relative(comparison, cost_baseline, _passes),
    }
    costs = {name: {label: x for label, x in cost.items() if label in values} for name, cost in costs.items()}
    costs = {name: cost for name, cost in costs.items() if cost}
    if not costs:
        raise Missing("no run has a measured cost")
    estimates = {label: estimate(v, comparison.lines[label]) for label, v in values.items()}
    figure = canvas(PAGE, 2.5)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    shown = [label for label in values if any(label in cost for cost in costs.values())]
    ensemble = best(comparison.of_role("ensemble"), values, unit)
    bounds = [b for label in shown for b in (estimates[label].low, estimates[label].high)]
    panels[0].set_ylim(
        *limits([estimates[label].mean for label in {*shown, *([ensemble] if ensemble else [])}], bounds)
    )
    panels[0].set_ylabel(f"test {unit.name}")
    for axes, (name, cost) in zip(panels, costs.items(), strict=True):
        places = _panel(axes, cost, estimates, look, (PAGE - MARGINS) / len(costs))
        if name == PASSES:
            _front(axes, cost, places, estimates, unit)
        axes.set_xlabel(f"{name}, relative to {cost_baseline}")
        if ensemble:
            axes.axhline(estimates[ensemble].mean, color=INK, ls=(0, (4, 2)), lw=0.8, zorder=0.5)
    texts, notes = shorten(shown, 30)
    handles = {texts[label]: handle(look[label], line=False) for label in shown}
    handles |= {"Pareto front": Line2D([], [], color=GREY, lw=0.9)} if PASSES in costs else {}
    handles |= {"ensemble": Line2D([], [], color=INK, ls=(0, (4, 2)), lw=0.8)} if ensemble else {}
    legend_above(figure, list(handles.values()), list(handles))
    counts = runs_note(estimates[label].n for label in shown)
    bars = reading((estimates[label] for label in shown), f"bars: 95 % t interval over {counts} runs")
    bars += "; costs: median over runs; passes: forward and backward, all encoders"
    bars += "; time as measured: the front is of passes alone; few marks of equal cost lie side by side"
    notes_below(
        figure,
        [
            bars,
            folds_note(comparison.rows),
            _earlier({texts[label]: comparison.lines[label] for label in shown}),
            *notes,
        ],
    )
    return figure


def front(points: Mapping[str, tuple[float, float]], higher_is_better: bool) -> list[str]:
    """The labels that no other one beats in cost or value without being worse in the other, the cheapest first."""
    sign = 1 if higher_is_better else -1
    ordered = sorted(points, key=lambda label: (points[label][0], -sign * points[label][1]))
    kept: list[str] = []
    for label in ordered:
        if not kept or sign * points[label][1] > sign * points[kept[-1]][1]:
            kept.append(label)
    return kept


def _earlier(lines: Mapping[str, list[RunRow]]) -> str:
    """A note on methods that start from other runs, whose cost is not counted as they are trained once and shared."""
    starting = [label for label, runs in lines.items() if any(row.dependencies for row in runs)]
    return f"without the runs that they start from: {', '.join(starting)}" if starting else ""


def _panel(
    axes: Axes, cost: dict[str, float], estimates: dict[str, Estimate], look: Marks, width: float
) -> dict[str, float]:
    """Draw a panel of `width` inches; returns label -> the place of its mark."""
    axes.grid(True)
    axes.set_axisbelow(True)
    ratio_axis(axes, list(cost.values()), width)
    places = side_by_side(cost, axes.get_xlim(), width)
    for label, x in places.items():
        draw_interval(axes, x, estimates[label].low, estimates[label].high, look[label].colour, vertical=True)
        axes.plot(
            [x],
            [estimates[label].mean],
            look[label].marker,
            color=look[label].colour,
            ms=look[label].size(5),
            mec="white",
            mew=0.4,
            zorder=3,
        )
    return places


def _front(
    axes: Axes, cost: dict[str, float], places: dict[str, float], estimates: dict[str, Estimate], unit: Unit
) -> None:
    """Draw the Pareto front, which costs decide, as a line from mark to mark."""
    points = {label: (x, estimates[label].mean) for label, x in cost.items()}
    ends = front(points, unit.higher_is_better)
    across = [*(places[e] for e in ends), axes.get_xlim()[1]]
    up = [points[e][1] for e in ends]
    axes.step(across, [*up, up[-1]], where="post", color=GREY, lw=0.9, zorder=1)


def _relative(comparison: Comparison, baseline: str, read: Callable[[RunRow], float | None]) -> dict[str, float]:
    """Label -> median cost divided by that of its baseline; lines without one of the two are left out."""
    ratios = {}
    for label, runs in comparison.lines.items():
        mine, base = _median(runs, read), _median(baseline_of_costs(comparison.lines, runs[0], baseline), read)
        if mine and base:
            ratios[label] = mine / base
    return ratios


def _median(runs: Sequence[RunRow], read: Callable[[RunRow], float | None]) -> float | None:
    costs = [x for row in runs if (x := read(row)) is not None]
    return median(costs) if costs else None


def _step_time(row: RunRow) -> float | None:
    return None if row.epochs == 0 else row.costs.seconds_per_step


def _passes(row: RunRow) -> float | None:
    """The passes of all encoders together, as the record has them per encoder of the run's model."""
    forwards, backwards = row.costs.encoder_forwards, row.costs.encoder_backwards
    if row.epochs == 0 or forwards is None or backwards is None:
        return None
    return (forwards + backwards) * len(row.modalities)
