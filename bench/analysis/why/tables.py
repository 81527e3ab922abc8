"""Why the methods of a comparison score as they do: tables of the diagnostics that every run logs."""

from collections.abc import Sequence
from math import isfinite

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.analysis.why.values import (
    Line,
    against_alone,
    gain_of,
    lines_of,
    named,
    of_subset,
    reader_of,
    reading,
    relative_to,
    scale_of,
    without_rounding,
)

ENCODERS = "why: encoders"  # ends the title of the table that is printed beside the main one
LEVELS = ("0.5", "1", "2")  # of noise, as the record names them
QUESTIONS = {
    "why: encoders": "Which encoder was left undertrained?",
    "why: missing modalities": "What is left without a modality, and what could a better combination reach?",
    "why: reliance": "How much do predictions rely on each modality?",
    "why: steps": "What did the optimiser make of the gradients?",
}  # end of a table's title -> the question that it answers
Column = tuple[str, int, Sequence[Cell]]  # its name, its decimals, its cells


def why_tables(comparison: Comparison, baseline: str) -> list[Table]:
    """The tables of a comparison for which anything is on record; baseline: the method that steps are compared with."""
    makers = (encoder_table, missing_table, reliance_table, lambda one: step_table(one, baseline))
    return [table for make in makers if (table := make(comparison)) is not None]


def encoder_table(comparison: Comparison) -> Table | None:
    """For each method and modality: what its encoder is worth beside the encoder that was trained alone."""
    scale, lines = scale_of(comparison), lines_of(comparison, "unimodal", "ensemble")
    paired = {line: against_alone(comparison, *line) for line in lines}
    read = {line: reader_of(comparison, line) for line in lines}
    columns: list[Column] = [
        ("fused", 4, [read[line](f"test/{scale.metric}") for line in lines]),
        ("from it alone", 4, [read[line](f"test/subset/{line[1]}/{scale.metric}") for line in lines]),
        ("probe", 4, [read[line](f"test/modality/{line[1]}/{scale.metric}") for line in lines]),
        ("trained alone", 4, [None if one is None else one[1] for one in paired.values()]),
    ]
    differences = [None if one is None else one[0] for one in paired.values()]
    columns += [
        (
            f"probe against alone ({scale.unit})",
            scale.digits,
            [None if d is None else d.difference for d in differences],
        ),
        ("95 % low", scale.digits, [None if d is None else _finite(d.interval.low) for d in differences]),
        ("high", scale.digits, [None if d is None else _finite(d.interval.high) for d in differences]),
        ("n", 0, [None if d is None else d.n for d in differences]),
        ("encoder", 0, [None if d is None else reading(d) for d in differences]),
    ]
    notes = [
        "fused: all modalities; from it alone: the same model, the others replaced by their mean training input",
        "probe: a linear head on the frozen encoder, or the method's own head where it trains one; trained alone: the "
        "unimodal run of the same data, seed and fold; both on the samples that have the modality, and against its own "
        "labels where the data has them",
        f"probe against alone: the gain over the encoder trained alone ({scale.unit}), a mean over n runs paired by "
        "seed and fold with its 95 % interval; below 0 the encoder was left undertrained",
    ]
    notes += sorted({f"no interval: {d.interval.refused}" for d in differences if d and d.interval.refused})
    return _table(comparison, ENCODERS, lines, columns, notes)


def missing_table(comparison: Comparison) -> Table | None:
    """For each method: what is left when modalities are missing, and what the best of its predictions could reach."""
    scale = scale_of(comparison)
    labels = [(label, "") for label, runs in comparison.lines.items() if runs[0].role != "unimodal"]
    read = {line: reader_of(comparison, line) for line in labels}
    fused = [read[line](f"test/{scale.metric}") for line in labels]
    best = [read[line](f"test/oracle/{scale.metric}") for line in labels]
    headroom = [gain_of(comparison, line, f"test/oracle/{scale.metric}", f"test/{scale.metric}") for line in labels]
    columns: list[Column] = [
        ("all", 4, fused),
        ("oracle", 4, best),
        (f"headroom ({scale.unit})", scale.digits, headroom),
    ]
    for name, subset in _shown_subsets(comparison.modalities):
        columns.append((name, 4, [of_subset(comparison, line, subset, scale.metric) for line in labels]))
    notes = [
        "oracle: for each sample the best of the fused prediction and of those from a modality that it has; headroom: "
        "what it gains, which no rule that has to choose can surpass",
        "only, without: the same model, the missing modalities replaced by their mean training input",
    ]
    return _table(comparison, "why: missing modalities", labels, columns, notes)


def reliance_table(comparison: Comparison) -> Table | None:
    """For each method and modality: how much its predictions rely on the modality."""
    scale, lines = scale_of(comparison), lines_of(comparison, "unimodal")
    read = {line: reader_of(comparison, line) for line in lines}
    digits, ratio = scale.digits, "pearson" if scale.metric == "mae" else scale.metric

    def each(name: str, factor: float = 1.0) -> list[float | None]:
        values = [read[line](name.format(line[1])) for line in lines]
        return [None if value is None else factor * without_rounding(value, scale) for value in values]

    def lost(name: str) -> list[float | None]:
        intact = f"test/intact/{scale.metric}"
        return [gain_of(comparison, line, intact, name.format(line[1])) for line in lines]

    columns: list[Column] = [
        (f"Shapley ({scale.unit})", digits, each("test/contribution/{}", scale.sign * scale.factor)),
        ("Shapley (Pearson r)", 4, each("test/contribution_pearson/{}")),
        (f"perceptual (% of {named(ratio)})", 1, each(f"test/perceptual/{{}}/{ratio}", 100.0)),
        (f"lost: permuted ({scale.unit})", digits, lost(f"test/permuted/{{}}/{scale.metric}")),
    ]
    columns += [
        (f"noise {level} sd ({scale.unit})", digits, lost(f"test/noise/{{}}/{level}/{scale.metric}"))
        for level in LEVELS
    ]
    notes = [
        "Shapley: the modality's share of the test result, a mean over the orders in which modalities are added",
        "lost: how much worse the result is when the modality's test inputs are exchanged between samples, a mean over "
        "permutations; perceptual: that loss as a share of the result (after Gat et al., NeurIPS 2021)",
        "noise: how much worse it is with Gaussian noise on the modality's test inputs, in standard deviations of the "
        "training inputs; exchanged and noisy inputs are those of at most 1,000 test samples",
    ]
    return _table(comparison, "why: reliance", lines, columns, notes)


def step_table(comparison: Comparison, baseline: str) -> Table | None:
    """For each method and modality: what the optimiser made of the gradients of the encoder."""
    lines = lines_of(comparison, "unimodal", "ensemble")
    read = {line: reader_of(comparison, line) for line in lines}

    def each(name: str, factor: float = 1.0) -> list[float | None]:
        values = [read[line](f"mean_train/{name}/{line[1]}") for line in lines]
        return [None if value is None else factor * value for value in values]

    def relative(name: str) -> list[float | None]:
        return [relative_to(comparison, line, baseline, f"mean_train/{name}/{line[1]}") for line in lines]

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


def _shown_subsets(modalities: tuple[str, ...]) -> Sequence[tuple[str, tuple[str, ...]]]:
    """(name of the column, subset): each modality alone, and from three on all but one."""
    if len(modalities) < 2:
        return []
    alone = [(f"only {m}", (m,)) for m in modalities]
    but_one = [(f"without {m}", tuple(other for other in modalities if other != m)) for m in modalities]
    return alone + (but_one if len(modalities) > 2 else [])


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
