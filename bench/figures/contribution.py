"""Figure "contribution": the contribution of each modality to a method's test result, as Shapley values."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.figures.style import (
    INK,
    ROW,
    Missing,
    legend_above,
    list_canvas,
    list_rows,
    notes_below,
    part_colours,
    styled,
)
from mcr_bench.bench.figures.values import (
    Estimate,
    Unit,
    clipped,
    draw_interval,
    estimate,
    first_metric,
    is_number,
    limits,
    reading,
    runs_note,
    without_roles,
)
from mcr_bench.bench.record.row import RunRow

BAR = 0.62


@styled
def contribution(comparison: Comparison) -> Figure:
    """Mean Shapley value per modality and method, stacked from zero: gains to the right, losses to the left.

    The 95 % t interval of each value is drawn at the end of its segment. Where lower is better the sign is turned, so
    that right is always a gain. Unimodal lines are left out. Missing where no run has contributions.
    """
    unit = Unit(first_metric(comparison.rows))
    lines = {
        label: _estimates(runs, comparison.modalities, unit)
        for label, runs in without_roles(comparison, "unimodal").items()
    }
    lines = {label: values for label, values in lines.items() if values}
    if not lines:
        raise Missing("no run has the contributions of its modalities")
    figure, texts, notes = list_canvas(lines, 0.5 + (1 + 0.13 * len(comparison.modalities)) * ROW * len(lines))
    axes = figure.subplots()
    list_rows(axes, [texts[label] for label in lines])
    segments = {label: _stack(values) for label, values in lines.items()}
    ends = [end for stack in segments.values() for _, start, width in stack for end in (start, start + width)]
    axes.set_xlim(
        *limits([0.0, *ends], [b for stack in segments.values() for e in _at_ends(stack) for b in (e.low, e.high)])
    )
    colours = part_colours(comparison.modalities)
    for row, (label, stack) in enumerate(segments.items()):
        _row(axes, row, lines[label], stack, colours)
    axes.axvline(0, color=INK, lw=0.8)
    turned = "" if unit.higher_is_better else " less"
    axes.set_xlabel(f"contribution to test {unit.metric.replace('_', ' ')} ({unit.points}{turned})")
    legend_above(figure, [Patch(color=c, lw=0) for c in colours.values()], list(colours))
    counts = runs_note(e.n for values in lines.values() for e in values.values())
    every = [e for stack in segments.values() for e in _at_ends(stack)]
    bars = reading(every, f"bars at a segment's end: its own 95 % t interval over {counts} runs")
    notes_below(figure, [bars, folds_note(comparison.rows), clipped(axes.get_xlim(), every), *notes])
    return figure


Segment = tuple[Estimate, float, float]  # of a modality: its value, where it starts, and how far it goes


def _estimates(runs: list[RunRow], modalities: tuple[str, ...], unit: Unit) -> dict[str, Estimate]:
    """Modality -> its contribution; empty if one of them has none."""
    factor = unit.factor if unit.higher_is_better else -unit.factor
    values = {m: [row.metrics.get(f"test/contribution/{m}") for row in runs] for m in modalities}
    kept = {m: [v * factor for v in row if is_number(v)] for m, row in values.items()}
    return {m: estimate(v, runs) for m, v in kept.items()} if all(kept.values()) else {}


def _stack(values: dict[str, Estimate]) -> list[Segment]:
    """The start of each segment: positive values continue to the right of the last one, negative ones to the left."""
    ends = {True: 0.0, False: 0.0}
    segments = []
    for value in values.values():
        gain = value.mean >= 0
        segments.append((value, ends[gain], value.mean))
        ends[gain] += value.mean
    return segments


def _at_ends(stack: list[Segment]) -> list[Estimate]:
    """The intervals, moved to the ends of their segments."""
    return [Estimate(start + width, e.low + start, e.high + start, e.n) for e, start, width in stack]


def _row(axes: Axes, row: int, values: dict[str, Estimate], stack: list[Segment], colours: dict[str, str]) -> None:
    count = len(stack)
    for i, (m, (_, start, width), end) in enumerate(zip(values, stack, _at_ends(stack), strict=True)):
        axes.barh([row], [width], left=[start], height=BAR, color=colours[m], ec="white", lw=0.5, zorder=1)
        place = row + 0.4 * BAR * (2 * i - count + 1) / count
        draw_interval(axes, place, end.low, end.high, INK)
