"""Figure "sweep": each method's test metric against a setting of the dataset that was swept."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean

from matplotlib.figure import Figure

from mcr_bench.bench.analysis.claim_notes import folds_note
from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.sweeps import Sweep
from mcr_bench.bench.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    Mark,
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
    draw_interval,
    estimate,
    is_number,
    limits,
    measured,
    reading,
    runs_note,
)

BAYES = "data/bayes_accuracy"


@styled
def sweep_figure(sweep: Sweep, look: Marks) -> Figure:
    """Mean test metric of each method at each setting with 95 % t intervals; the best possible accuracy is dashed.

    Unimodal lines are left out. Missing where no run is finished.
    """
    unit = Unit(sweep.comparisons[0].metric)
    lines = _lines(sweep, unit)
    if not lines:
        raise Missing("no finished run")
    figure = canvas(PAGE if len(lines) > 12 else COLUMN * 1.3, 2.8)
    axes = figure.subplots()
    axes.grid(True, axis="y")
    bayes = _bayes(sweep, unit)
    every = [e for line in lines.values() for e in line.values()]
    axes.set_ylim(*limits([*(e.mean for e in every), *bayes.values()], [b for e in every for b in (e.low, e.high)]))
    width = _spacing(sweep.places)
    axes.set_xlim(min(sweep.places) - 0.5 * width, max(sweep.places) + 0.5 * width)
    shifts = _shifts(len(lines), width)
    for (label, line), shift in zip(lines.items(), shifts, strict=True):
        mark = look[label]
        axes.plot([p + shift for p in line], [e.mean for e in line.values()], color=mark.colour, ls=mark.dashes,
                  marker=mark.marker, ms=mark.size(4), mec="white", mew=0.4, zorder=3)  # fmt: skip
        for place, e in line.items():
            draw_interval(axes, place + shift, e.low, e.high, mark.colour, vertical=True)
    if bayes:
        axes.plot(list(bayes), list(bayes.values()), color=GREY, ls=(0, (2, 2)), lw=1)
    axes.set_xticks(sweep.places, sweep.ticks)
    axes.set_xlabel(sweep.name)
    axes.set_ylabel(f"test {unit.name}")
    _legend(
        figure,
        lines,
        look,
        bool(bayes),
        every,
        folds_note(row for comparison in sweep.comparisons for row in comparison.rows),
    )
    return figure


def _legend(figure: Figure, lines: Iterable[str], look: Marks, bayes: bool, every: list[Estimate], note: str) -> None:
    texts, notes = shorten(lines, 30)
    handles = {texts[label]: handle(look[label]) for label in texts}
    handles |= {"best possible": handle(Mark(GREY, "", (0, (2, 2))))} if bayes else {}
    legend_above(figure, list(handles.values()), list(handles))
    counts = runs_note(e.n for e in every)
    bars = reading(every, f"bars: 95 % t interval over {counts} runs; lines are set apart sideways")
    notes_below(figure, [bars, note, *notes])


def _lines(sweep: Sweep, unit: Unit) -> dict[str, dict[float, Estimate]]:
    """Label -> place -> estimate, for the lines that are not unimodal."""
    lines: dict[str, dict[float, Estimate]] = {}
    for comparison, place in zip(sweep.comparisons, sweep.places, strict=True):
        single = comparison.of_role("unimodal")
        for label, values in measured(comparison, unit).items():
            if label not in single:
                lines.setdefault(label, {})[place] = estimate(values, comparison.lines[label])
    return lines


def _bayes(sweep: Sweep, unit: Unit) -> dict[float, float]:
    """Place -> accuracy of the best possible classifier, if the data state it and accuracy is shown."""
    if unit.metric not in BAYES:
        return {}
    best = {p: _bayes_of(c) for c, p in zip(sweep.comparisons, sweep.places, strict=True)}
    return {place: fmean(values) * unit.factor for place, values in best.items() if values}


def _bayes_of(comparison: Comparison) -> list[float]:
    """The best possible accuracy, of the runs with every modality."""
    runs = [row for row in comparison.rows if row.modalities == comparison.modalities and row.role != "unimodal"]
    return [row.metrics[BAYES] for row in runs if is_number(row.metrics.get(BAYES))]


def _spacing(places: Sequence[float]) -> float:
    """The smallest distance between neighbouring places."""
    gaps = [b - a for a, b in pairwise(places) if b > a]
    return min(gaps, default=1.0)


def _shifts(count: int, width: float) -> list[float]:
    """Sideways shifts that keep the lines' intervals apart, over less than half of the gap between settings."""
    step = width * min(0.03, 0.4 / max(count, 1))
    return [step * (i - (count - 1) / 2) for i in range(count)]
