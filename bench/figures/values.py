"""Values of comparisons for figures: in the units in which they are shown, with intervals and labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean
from typing import TypeGuard

from matplotlib.axes import Axes

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of
from mcr_bench.bench.problem.metrics import kind_of, named_metrics
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.intervals import mean_interval

RAW = {"mae", "pearson", "loss"}  # in units of their own; every other metric is a share, shown in per cent
LEVEL = 0.95


@dataclass(frozen=True)
class Unit:
    """The unit in which a metric is shown: shares in per cent, with differences in points; others unchanged."""

    metric: str

    @property
    def share(self) -> bool:
        return self.metric not in RAW

    @property
    def factor(self) -> float:
        return 100.0 if self.share else 1.0

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in LOWER_IS_BETTER

    @property
    def name(self) -> str:
        """The label of an axis: the metric with its unit, and a note if lower is better."""
        text = self.metric.replace("_", " ")
        text = f"{text} (%)" if self.share else text
        return text if self.higher_is_better else f"{text}, lower is better"

    @property
    def points(self) -> str:
        """The unit of a difference."""
        return "points" if self.share else self.metric.replace("_", " ")


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % t interval.

    mean: the mean.
    low: the lower end of the interval; nan if there is none.
    high: the upper end of the interval; nan if there is none.
    n: the number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        return not isnan(self.low)


def estimate(values: Sequence[float], runs: Sequence[RunRow]) -> Estimate:
    """The estimate of the values of these runs, whose folds may share training data.

    ValueError if there is no value, or one is not finite.
    """
    interval = mean_interval(values, LEVEL, overlap_of(runs))
    return Estimate(fmean(values), interval.low, interval.high, len(values))


def shown_values(runs: Sequence[RunRow], unit: Unit) -> list[float]:
    """The test metric of the runs in the unit shown; runs without a finite value are left out."""
    return [row.value * unit.factor for row in runs if is_number(row.value)]


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and value - value == 0


def measured(comparison: Comparison, unit: Unit) -> dict[str, list[float]]:
    """Label -> its test values; lines without a value are left out."""
    every = {label: shown_values(runs, unit) for label, runs in comparison.lines.items()}
    return {label: values for label, values in every.items() if values}


def without_roles(comparison: Comparison, *roles: str) -> dict[str, list[RunRow]]:
    """The lines whose role is none of these."""
    return {label: runs for label, runs in comparison.lines.items() if runs[0].role not in roles}


def best(labels: Iterable[str], values: Mapping[str, Sequence[float]], unit: Unit) -> str | None:
    """The label with the best mean."""
    means = {label: fmean(values[label]) for label in labels if label in values}
    pick = max if unit.higher_is_better else min
    return pick(means, key=lambda label: means[label]) if means else None


def first_metric(rows: Iterable[RunRow]) -> str:
    """The task's first metric, in which contributions and per-modality reports are given."""
    logged = {name.removeprefix("test/") for row in rows for name in row.metrics}
    return named_metrics(kind_of(logged))[0].name


def limits(values: Iterable[float], bounds: Iterable[float] = ()) -> tuple[float, float]:
    """Axis limits that hold all values, and of intervals as much as leaves the values half of the axis.

    An interval of two runs can be a hundred times as wide as the values differ.
    """
    shown = [value for value in values if not isnan(value)]
    low, high = min(shown), max(shown)
    span = (high - low) or abs(high) * 0.1 or 1.0
    ends = [b for b in bounds if not isnan(b)]
    start = max(min([low, *ends]), low - span / 2)
    stop = min(max([high, *ends]), high + span / 2)
    pad = 0.05 * (stop - start) or span / 2
    return start - pad, stop + pad


def draw_interval(axes: Axes, place: float, low: float, high: float, colour: str, vertical: bool = False) -> None:
    """Draw an interval at a place of the other axis, with an arrow head at an end that is beyond the axis."""
    if isnan(low):
        return
    start, stop = axes.get_ylim() if vertical else axes.get_xlim()
    start, stop = min(start, stop), max(start, stop)
    ends = (max(low, start), min(high, stop))
    points = ([place, place], list(ends)) if vertical else (list(ends), [place, place])
    axes.plot(*points, color=colour, lw=1.1, solid_capstyle="butt", zorder=2)
    heads = ("v", "^") if vertical else ("<", ">")
    for at, beyond, head in ((start, low < start, heads[0]), (stop, high > stop, heads[1])):
        if beyond:
            x, y = (place, at) if vertical else (at, place)
            axes.plot([x], [y], marker=head, color=colour, ms=3, mew=0, clip_on=False, zorder=2)


def clipped(axes_limits: tuple[float, float], estimates: Iterable[Estimate]) -> str:
    """A note if an interval is longer than the axis; otherwise empty."""
    start, stop = axes_limits
    out = any(e.bounded and (e.low < start or e.high > stop) for e in estimates)
    return "arrow heads: the interval goes on beyond the axis" if out else ""


def reading(estimates: Iterable[Estimate], text: str) -> str:
    """`text`, which explains the intervals, or why there are none."""
    known = list(estimates)
    if any(e.bounded for e in known):
        return text
    return "one run per line: no intervals" if all(e.n == 1 for e in known) else "no spread over runs: no intervals"


def runs_note(counts: Iterable[int]) -> str:
    """A note on the number of runs per line."""
    numbers = sorted(set(counts))
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
