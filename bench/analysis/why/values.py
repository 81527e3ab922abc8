"""What the tables of diagnostics show: means over runs, differences from encoders trained alone, and ratios."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isclose, isfinite
from statistics import fmean

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, SHARES, Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of, pairs_of
from mcr_bench.bench.analysis.table import baseline_of_costs
from mcr_bench.bench.problem.metrics import subset_metric
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.paired import Paired, compare_paired

Line = tuple[str, str]  # a label and a modality, one row of most tables
ROUNDING = 1e-12  # relative to the values: means of the same numbers may differ by less


@dataclass(frozen=True)
class Scale:
    """How differences of a metric are shown.

    metric: the metric in which modalities are described, the task's first.
    factor: what differences are multiplied by.
    sign: 1 where higher is better, otherwise -1, so that a positive difference is always a gain.
    unit: the unit of differences, in words.
    """

    metric: str
    factor: float
    sign: int
    unit: str

    @property
    def digits(self) -> int:
        """The decimals of differences."""
        return 2 if self.factor == 100 else 4

    def gain(self, after: float, before: float) -> float:
        """How much better `after` is than `before`; 0 where only the rounding differs."""
        return 0.0 if isclose(after, before, rel_tol=ROUNDING) else self.sign * self.factor * (after - before)


def scale_of(comparison: Comparison) -> Scale:
    """How differences in the comparison are shown."""
    metric = _first_metric(comparison)
    share = metric in SHARES
    unit = "percentage points" if share else named(metric)
    return Scale(metric, 100.0 if share else 1.0, -1 if metric in LOWER_IS_BETTER else 1, unit)


def against_alone(comparison: Comparison, label: str, modality: str) -> tuple[Paired, float] | None:
    """The probe on an encoder against the encoder trained alone, and the mean result of the latter.

    They are paired by seed and fold. None where no pair is on record. Both are of the samples that have the modality:
    a unimodal run predicts the others too, from the mean training input.
    """
    scale, runs = scale_of(comparison), comparison.lines[label]
    name, others = f"test/modality/{modality}/{scale.metric}", _trained_alone(comparison, runs[0], modality)
    mine, alone = _by_pair(runs, name), _by_pair(others, f"test/{scale.metric}") | _by_pair(others, name)
    common = [pair for pair in mine if pair in alone]
    if not common:
        return None
    factor, known = scale.sign * scale.factor, pairs_of(runs)
    values = [[factor * side[pair] for pair in common] for side in (mine, alone)]
    paired = compare_paired(values[0], values[1], overlap=overlap_of(known[pair] for pair in common))
    return paired, fmean(alone[pair] for pair in common)


def reading(paired: Paired) -> str:
    """What the interval of a difference says of an encoder."""
    if paired.interval.refused:
        return "-"
    if paired.interval.high < 0:
        return "undertrained"
    return "better than alone" if paired.interval.low > 0 else "not separated"


def lines_of(comparison: Comparison, *without: str) -> list[Line]:
    """A line for each label and modality, without the labels of these roles."""
    labels = [label for label, runs in comparison.lines.items() if runs[0].role not in without]
    return [(label, m) for label in labels for m in comparison.modalities]


def reader_of(comparison: Comparison, line: Line) -> Callable[[str], float | None]:
    """A function that gives the mean of a metric over the runs of a line; None where no run has it."""
    return lambda name: _mean(_by_pair(comparison.lines[line[0]], name).values())


def gain_of(comparison: Comparison, line: Line, after: str, before: str) -> float | None:
    """How much better one metric of a line is than another, a mean over the runs that have both; None without any."""
    values = [_by_pair(comparison.lines[line[0]], name) for name in (after, before)]
    common = [pair for pair in values[0] if pair in values[1]]
    if not common:
        return None
    return scale_of(comparison).gain(*(fmean(of[pair] for pair in common) for of in values))


def without_rounding(value: float, scale: Scale) -> float:
    """The number, or 0 for a share that is as small as the rounding of a difference of two equal ones."""
    return 0.0 if scale.metric in SHARES and abs(value) <= ROUNDING else value


def of_subset(comparison: Comparison, line: Line, subset: Sequence[str], metric: str) -> float | None:
    """The mean of a metric of the predictions from a subset over the runs of a line; None where no run has it.

    Runs of earlier versions join the modalities by `_`, which is not read where a modality has that name.
    """
    runs, earlier = comparison.lines[line[0]], "_".join(subset)
    known = {} if earlier in comparison.modalities else _by_pair(runs, f"test/subset/{earlier}/{metric}")
    return _mean((known | _by_pair(runs, f"test/{subset_metric(subset, metric)}")).values())


def relative_to(comparison: Comparison, line: Line, baseline: str, name: str) -> float | None:
    """The mean of a metric over that of the baseline, over their common seeds and folds."""
    runs = comparison.lines[line[0]]
    mine, base = (_by_pair(of, name) for of in (runs, baseline_of_costs(comparison.lines, runs[0], baseline)))
    common = [pair for pair in mine if pair in base]
    below = _mean(base[pair] for pair in common)
    return fmean(mine[pair] for pair in common) / below if below else None


def named(metric: str) -> str:
    return {"mae": "MAE", "pearson": "Pearson r"}.get(metric, metric.replace("_", " "))


def _first_metric(comparison: Comparison) -> str:
    """The metric of single modalities, which is the task's first."""
    for row in comparison.rows:
        for m in row.modalities:
            names = (
                name.removeprefix(start) for name in row.metrics if name.startswith(start := f"test/modality/{m}/")
            )
            if (name := next(names, None)) is not None:
                return name
    return comparison.metric


def _trained_alone(comparison: Comparison, like: RunRow, modality: str) -> list[RunRow]:
    """The runs of the modality alone; of several lines that with the same `--set` settings, or else the fewest."""
    lines = [
        runs for runs in comparison.lines.values() if runs[0].role == "unimodal" and runs[0].modalities == (modality,)
    ]
    return min(
        lines,
        key=lambda runs: (runs[0].asked_settings != like.asked_settings, len(runs[0].asked_settings)),
        default=[],
    )


def _by_pair(runs: Sequence[RunRow], name: str) -> dict[tuple[int, int], float]:
    """(seed, fold) -> the finite metric of its run."""
    known = {pair: row.metrics.get(name) for pair, row in pairs_of(runs).items()}
    return {pair: value for pair, value in known.items() if value is not None and isfinite(value)}


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None
