"""Why the methods of a comparison score as they do: tables of the diagnostics that every run logs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, SHARES, Comparison
from mcr_bench.bench.analysis.comparisons import overlap_of, pairs_of
from mcr_bench.bench.analysis.table import Cell, Table, baseline_of_costs
from mcr_bench.bench.problem.metrics import CLASSIFICATION, REGRESSION
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.statistics.paired import Paired, compare_paired

ENCODERS = "why: encoders"  # ends the title of the table that is printed beside the main one
LEVELS = ("0.5", "1", "2")  # of noise, as the record names them
QUESTIONS = {
    "why: encoders": "Which encoder was left undertrained?",
    "why: missing modalities": "What is left without a modality, and what could a better combination reach?",
    "why: reliance": "How much do predictions rely on each modality?",
    "why: steps": "What did the optimiser make of the gradients?",
}  # end of a table's title -> the question that it answers
Column = tuple[str, int, Sequence[Cell]]  # its name, its decimals, its cells
Line = tuple[str, str]  # a label and a modality, one row of most tables


@dataclass(frozen=True)
class Scale:
    """How differences of a metric are told.

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

    def gain(self, after: float | None, before: float | None) -> float | None:
        """How much better `after` is than `before`; None where one is missing."""
        return None if after is None or before is None else self.sign * self.factor * (after - before)


def why_tables(comparison: Comparison, baseline: str) -> list[Table]:
    """The tables of a comparison for which anything is on record; baseline: the method that steps are compared with."""
    makers = (encoder_table, missing_table, reliance_table, lambda one: step_table(one, baseline))
    return [table for make in makers if (table := make(comparison)) is not None]


def encoder_table(comparison: Comparison) -> Table | None:
    """For each method and modality: what its encoder is worth beside the encoder that was trained alone."""
    scale, lines = scale_of(comparison), _lines(comparison, "unimodal", "ensemble")
    paired = {line: against_alone(comparison, *line) for line in lines}
    read = {line: _reader(comparison, line) for line in lines}
    columns: list[Column] = [
        ("fused", 4, [read[line](f"test/{scale.metric}") for line in lines]),
        ("from it alone", 4, [read[line](f"test/subset/{line[1]}/{scale.metric}") for line in lines]),
        ("probe", 4, [read[line](f"test/modality/{line[1]}/{scale.metric}") for line in lines]),
        ("trained alone", 4, [one and one[1] for one in paired.values()]),
    ]
    differences = [one and one[0] for one in paired.values()]
    columns += [
        (
            f"probe against it ({scale.unit})",
            scale.digits,
            [d and d.difference for d in differences],
        ),
        ("95 % low", scale.digits, [d and _finite(d.interval.low) for d in differences]),
        ("high", scale.digits, [d and _finite(d.interval.high) for d in differences]),
        ("n", 0, [d and d.n for d in differences]),
        ("encoder", 0, [d and reading(d) for d in differences]),
    ]
    notes = [
        "fused: all modalities; from it alone: the same model, the others replaced by their mean training input",
        "probe: a linear head on the frozen encoder, or the method's own head where it trains one; trained alone: the "
        "unimodal run of the same data, seed and fold",
        f"probe against it: the gain over the encoder trained alone ({scale.unit}), a mean over n runs paired by seed "
        "and fold with its 95 % interval; below 0 the encoder was left undertrained",
    ]
    notes += sorted({f"no interval: {d.interval.refused}" for d in differences if d and d.interval.refused})
    return _table(comparison, ENCODERS, lines, columns, notes)


def missing_table(comparison: Comparison) -> Table | None:
    """For each method: what is left when modalities are missing, and what the best of its predictions could reach."""
    scale = scale_of(comparison)
    labels = [(label, "") for label, runs in comparison.lines.items() if runs[0].role != "unimodal"]
    read = {line: _reader(comparison, line) for line in labels}
    fused = [read[line](f"test/{scale.metric}") for line in labels]
    best = [read[line](f"test/oracle/{scale.metric}") for line in labels]
    columns: list[Column] = [
        ("all", 4, fused),
        ("oracle", 4, best),
        (f"headroom ({scale.unit})", scale.digits, list(map(scale.gain, best, fused))),
    ]
    for name, subset in _shown_subsets(comparison.modalities):
        columns.append((name, 4, [read[line](f"test/subset/{subset}/{scale.metric}") for line in labels]))
    notes = [
        "oracle: for each sample the best of the fused and the unimodal predictions; headroom: what it gains, which no "
        "rule that has to choose can surpass",
        "only, without: the same model, the missing modalities replaced by their mean training input",
    ]
    return _table(comparison, "why: missing modalities", labels, columns, notes)


def reliance_table(comparison: Comparison) -> Table | None:
    """For each method and modality: how much its predictions rely on the modality."""
    scale, lines = scale_of(comparison), _lines(comparison, "unimodal")
    read = {line: _reader(comparison, line) for line in lines}
    digits, ratio = scale.digits, "pearson" if scale.metric == "mae" else scale.metric
    intact = [read[line](f"test/intact/{scale.metric}") for line in lines]

    def each(name: str, factor: float = 1.0) -> list[float | None]:
        found = [read[line](name.format(line[1])) for line in lines]
        return [None if value is None else factor * value for value in found]

    def lost(name: str) -> list[float | None]:
        return list(map(scale.gain, intact, each(name)))

    columns: list[Column] = [
        (f"Shapley ({scale.unit})", digits, each("test/contribution/{}", scale.sign * scale.factor)),
        ("Shapley (Pearson r)", 4, each("test/contribution_pearson/{}")),
        (f"perceptual (% of {_named(ratio)})", 1, each(f"test/perceptual/{{}}/{ratio}", 100.0)),
        (f"lost: permuted ({scale.unit})", digits, lost(f"test/permuted/{{}}/{scale.metric}")),
    ]
    columns += [
        (f"noise {level} sd ({scale.unit})", digits, lost(f"test/noise/{{}}/{level}/{scale.metric}"))
        for level in LEVELS
    ]
    notes = [
        "Shapley: the modality's share of the test result, a mean over the orders in which modalities are added",
        "lost: how much worse the result is when the modality's test inputs are exchanged between samples, a mean over "
        "permutations; perceptual: that loss as a share of the result (Gat et al., NeurIPS 2021)",
        "noise: how much worse it is with Gaussian noise on the modality's test inputs, in standard deviations of the "
        "training inputs; exchanged and noisy inputs are those of at most 1,000 test samples",
    ]
    return _table(comparison, "why: reliance", lines, columns, notes)


def step_table(comparison: Comparison, baseline: str) -> Table | None:
    """For each method and modality: what the optimiser made of the gradients of the encoder."""
    lines = _lines(comparison, "unimodal", "ensemble")
    read = {line: _reader(comparison, line) for line in lines}

    def each(name: str, factor: float = 1.0) -> list[float | None]:
        found = [read[line](f"mean_train/{name}/{line[1]}") for line in lines]
        return [None if value is None else factor * value for value in found]

    def relative(name: str) -> list[float | None]:
        return [_relative(comparison, line, baseline, f"mean_train/{name}/{line[1]}") for line in lines]

    columns: list[Column] = [
        ("coefficient", 3, each("coefficient")),
        ("× gradient", 2, relative("gradient_norm")),
        ("× moved", 2, relative("update_ratio")),
        ("update (% of weights)", 3, each("update_ratio", 100.0)),
        ("update / (lr × gradient)", 2, each("update_per_gradient")),
    ]
    notes = [
        "coefficient: what the method multiplied the encoder's gradient by; update: how far a step moved the encoder's "
        "weights, relative to their norm",
        f"×: relative to {baseline} with the same seeds and folds; a coefficient that the optimiser keeps moves the "
        "weights as many times as far; under Adam, which divides by the size of past gradients, a steady one does not",
        "update / (lr × gradient): 1 where the step is what the gradient asked for, as in plain gradient descent",
        "means over the watched steps of all epochs and over runs",
    ]
    return _table(comparison, "why: steps", lines, columns, notes)


def scale_of(comparison: Comparison) -> Scale:
    """How differences in the comparison are told."""
    named = [metrics[0].name for metrics in (CLASSIFICATION, REGRESSION)]
    metric = next((name for row in comparison.rows for name in named if f"test/{name}" in row.metrics), named[0])
    share = metric in SHARES
    unit = "percentage points" if share else _named(metric)
    return Scale(metric, 100.0 if share else 1.0, -1 if metric in LOWER_IS_BETTER else 1, unit)


def against_alone(comparison: Comparison, label: str, modality: str) -> tuple[Paired, float] | None:
    """The probe on an encoder against the encoder trained alone, and the mean result of the latter.

    They are paired by seed and fold. None where no pair is on record.
    """
    scale, runs = scale_of(comparison), comparison.lines[label]
    mine = _by_pair(runs, f"test/modality/{modality}/{scale.metric}")
    alone = _by_pair(_trained_alone(comparison, runs[0], modality), f"test/{scale.metric}")
    common = [pair for pair in mine if pair in alone]
    if not common:
        return None
    factor, known = scale.sign * scale.factor, pairs_of(runs)
    values = [[factor * found[pair] for pair in common] for found in (mine, alone)]
    paired = compare_paired(values[0], values[1], overlap=overlap_of(known[pair] for pair in common))
    return paired, fmean(alone[pair] for pair in common)


def reading(paired: Paired) -> str:
    """What the interval of a difference says of an encoder."""
    if paired.interval.refused:
        return "-"
    if paired.interval.high < 0:
        return "undertrained"
    return "better than alone" if paired.interval.low > 0 else "not separated"


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


def _lines(comparison: Comparison, *without: str) -> list[Line]:
    """A line for each label and modality, without the labels of these roles."""
    labels = [label for label, runs in comparison.lines.items() if runs[0].role not in without]
    return [(label, m) for label in labels for m in comparison.modalities]


def _reader(comparison: Comparison, line: Line) -> Callable[[str], float | None]:
    """A function that gives the mean of a metric over the runs of a line; None where no run has it."""
    return lambda name: _mean(_by_pair(comparison.lines[line[0]], name).values())


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fmean(known) if known else None


def _by_pair(runs: Sequence[RunRow], name: str) -> dict[tuple[int, int], float]:
    """(seed, fold) -> the finite metric of its run."""
    found = {pair: row.metrics.get(name) for pair, row in pairs_of(runs).items()}
    return {pair: value for pair, value in found.items() if value is not None and isfinite(value)}


def _relative(comparison: Comparison, line: Line, baseline: str, name: str) -> float | None:
    """The mean of a metric over that of the baseline, over their common seeds and folds."""
    runs = comparison.lines[line[0]]
    mine, base = (_by_pair(of, name) for of in (runs, baseline_of_costs(comparison.lines, runs[0], baseline)))
    common = [pair for pair in mine if pair in base]
    below = _mean(base[pair] for pair in common)
    return fmean(mine[pair] for pair in common) / below if below else None


def _shown_subsets(modalities: tuple[str, ...]) -> Sequence[tuple[str, str]]:
    """(name of the column, subset in the record): each modality alone, and from three on all but one."""
    if len(modalities) < 2:
        return []
    alone = [(f"only {m}", m) for m in modalities]
    but_one = [(f"without {m}", "+".join(other for other in modalities if other != m)) for m in modalities]
    return alone + (but_one if len(modalities) > 2 else [])


def _named(metric: str) -> str:
    return {"mae": "MAE", "pearson": "Pearson r"}.get(metric, metric.replace("_", " "))


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _table(
    comparison: Comparison, kind: str, lines: Sequence[Line], columns: Sequence[Column], notes: list[str]
) -> Table | None:
    """The table without the columns in which nothing is known; None where none is left but the run's result."""
    kept = [column for column in columns if any(cell is not None for cell in column[2])]
    if len(kept) < 2:
        return None
    names: list[Column] = [("method", 0, [label for label, _ in lines])]
    if any(m for _, m in lines):
        names.append(("modality", 0, [m for _, m in lines]))
    every = names + kept
    rows = list(zip(*(cells for _, _, cells in every), strict=True))
    titles, digits = tuple(name for name, _, _ in every), tuple(number for _, number, _ in every)
    return Table(f"{comparison.title} · {kind}", titles, digits, rows, notes, file=f"{comparison.file} · {kind}")
