"""The floor of a table: a constant predictor, which is never tested or ranked, and the lines that do not beat it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from statistics import fmean, stdev

from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.comparisons import pairs_of
from mcr_bench.bench.problem.metrics import kind_of
from mcr_bench.bench.record.row import Pair, Part, RunRow
from mcr_bench.bench.words import decimal

Floors = tuple[Mapping[str, float], Part]  # metric -> value, and the part whose labels gave the constant
ReadFloors = Callable[[list[str]], Mapping[str, Mapping[str, float]]]
CLASSES, SCORES, LABELS = "constant (majority class)", "constant (median)", "constant (label shares)"
PREDICTS = {CLASSES: "most frequent class", SCORES: "median of the labels", LABELS: "share of each label"}
MARGIN = 1e-9  # relative to the floor: the values of equal predictions may differ by rounding


@dataclass(frozen=True)
class Floor:
    """The score of a constant predictor.

    name: its name in tables.
    values: (seed, fold) -> its metric on the test part.
    part: the part whose labels the constant fits best.
    """

    name: str
    values: dict[Pair, float]
    part: Part

    @property
    def mean(self) -> float:
        """The mean over seeds and folds."""
        return fmean(self.values.values())

    @property
    def sd(self) -> float | None:
        """The sample standard deviation over seeds and folds; None for one value."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def with_floors(comparisons: Iterable[Comparison], read: ReadFloors) -> list[Comparison]:
    """The comparisons with a floor in every row: one that lacks it gets that of a row with the same seed and fold.

    read: computes floors from the predictions of runs; it is called if no row of a seed and fold has one.
    """
    return [_with_floor(one, read) for one in comparisons]


def floor_of(comparison: Comparison, metric: str) -> Floor | None:
    """The floor of a comparison by this metric; None if it is not on record."""
    rows = [row for row in comparison.rows if isfinite(row.floors.get(metric, nan))]
    if not rows:
        return None
    task = kind_of(rows[0].floors)
    name = SCORES if task.regression else LABELS if task.multi_label else CLASSES
    part: Part = "validation" if any(row.floors_of == "validation" for row in rows) else "training"
    return Floor(name, {pair: row.floors[metric] for pair, row in pairs_of(rows).items()}, part)


def not_above(comparison: Comparison, metric: str) -> dict[str, float]:
    """Label -> mean of the lines that are not better than the floor over the same seeds and folds."""
    floor = floor_of(comparison, metric)
    if floor is None:
        return {}
    sign, means = -1 if metric in LOWER_IS_BETTER else 1, {}
    for label, runs in comparison.lines.items():
        known = {p: row.metrics.get(f"test/{metric}") for p, row in pairs_of(runs).items() if p in floor.values}
        mine = {pair: value for pair, value in known.items() if value is not None and isfinite(value)}
        if not mine:
            continue
        mean, constant = fmean(mine.values()), fmean(floor.values[pair] for pair in mine)
        if sign * (mean - constant) <= MARGIN * abs(constant):
            means[label] = mean
    return means


def floor_notes(comparison: Comparison, metric: str, digits: int = 4, scale: float = 1.0) -> list[str]:
    """Notes that explain the floor and name the lines that do not beat it."""
    floor = floor_of(comparison, metric)
    if floor is None:
        return []
    why = ": runs of earlier versions have no training labels on record" if floor.part != "training" else ""
    what = f"the {PREDICTS[floor.name]} of the {floor.part} part"
    notes = [f"{floor.name}: predicts {what} for every sample{why}; in no test or rank"]
    low = [f"{label} ({decimal(scale * mean, digits)})" for label, mean in not_above(comparison, metric).items()]
    if low:
        notes.append(f"WARNING: does not beat {floor.name} ({decimal(scale * floor.mean, digits)}): {', '.join(low)}")
    return notes


def _with_floor(comparison: Comparison, read: ReadFloors) -> Comparison:
    rows = [row for row in comparison.rows if not row.floors]
    if not rows:
        return comparison
    known = {pair: _floors(row) for pair, row in pairs_of([row for row in comparison.rows if row.floors]).items()}
    missing: dict[Pair, list[str]] = {}
    for row in rows:
        missing.setdefault(row.pair, []).append(row.run_id)
    known |= _read({pair: ids for pair, ids in missing.items() if pair not in known}, read)
    lines = {label: [_filled(row, known) for row in runs] for label, runs in comparison.lines.items()}
    return replace(comparison, lines=lines)


def _read(missing: Mapping[Pair, Sequence[str]], read: ReadFloors) -> dict[Pair, Floors]:
    """(seed, fold) -> its floors, from the predictions of the first of its runs that can be read.

    Predictions hold no training labels, so the floors are those of the validation part.
    """
    known: dict[Pair, Floors] = {}
    for turn in range(max(map(len, missing.values()), default=0)):
        asked = {pair: ids[turn] for pair, ids in missing.items() if pair not in known and turn < len(ids)}
        floors = read(list(asked.values())) if asked else {}
        known |= {pair: (floors[run_id], "validation") for pair, run_id in asked.items() if run_id in floors}
    return known


def _floors(row: RunRow) -> Floors:
    return row.floors, row.floors_of


def _filled(row: RunRow, known: Mapping[Pair, Floors]) -> RunRow:
    if row.floors or row.pair not in known:
        return row
    floors, part = known[row.pair]
    return replace(row, floors=floors, floors_of=part)
