"""Make the table of a comparison: pure functions from rows of the record to cells and notes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from mcr_bench.bench.analysis.budgets import mixed_notes, training_notes
from mcr_bench.bench.analysis.compared import LOWER_IS_BETTER, Comparison
from mcr_bench.bench.analysis.floors import floor_notes, floor_of
from mcr_bench.bench.analysis.sizes import sizes_note
from mcr_bench.bench.problem.missing import MORE, NOT_FINITE
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.words import decimal, number_of

Cell = str | float | int | None
Read = Callable[[RunRow], float | None]
Lead = Callable[[Comparison], tuple[set[str], str]]  # labels in bold type, and the rule in words

SECOND = (("macro-F1", "macro_f1"), ("micro-F1", "micro_f1"), ("Pearson r", "pearson"))
COSTS: tuple[tuple[str, Read], ...] = (
    ("step time", lambda row: row.costs.seconds_per_step),
    ("forwards", lambda row: row.costs.encoder_forwards),
    ("backwards", lambda row: row.costs.encoder_backwards),
    ("memory", lambda row: row.costs.peak_memory_mib),
)


@dataclass(frozen=True)
class Table:
    """A table to print or to write to files.

    title: its title.
    columns: the names of its columns.
    digits: the number of decimals of each column's floats.
    rows: its cells at full precision; None for a value that was not measured.
    notes: the notes below it.
    bold: the numbers of the rows whose name and main value are in bold type.
    file: the name for its files, if it is not the title.
    floor: the number of the row with the constant predictor; None without one.
    """

    title: str
    columns: tuple[str, ...]
    digits: tuple[int, ...]
    rows: list[tuple[Cell, ...]]
    notes: list[str]
    bold: frozenset[int] = frozenset()
    file: str = ""
    floor: int | None = None

    def text(self) -> list[list[str]]:
        """The cells as printed."""
        return [[_text(cell, digits) for cell, digits in zip(row, self.digits, strict=True)] for row in self.rows]

    def is_bold(self, row: int, column: int) -> bool:
        """Whether a cell is set in bold type."""
        return row in self.bold and column < 2


def comparison_table(comparison: Comparison, baseline: str, lead: Lead | None = None) -> Table:
    """The table of a comparison. lead: gives the labels in bold type with the rule; without it there are none."""
    columns, digits, cells = _columns(comparison.lines, comparison.metric, comparison.modalities, baseline)
    leading, reason = lead(comparison) if lead else (set[str](), "")
    bold = frozenset(i for i, label in enumerate(comparison.lines) if label in leading)
    floor = _floor_row(comparison, columns)
    notes = _notes(comparison, baseline, reason)
    place = len(cells) if floor else None
    return Table(comparison.title, columns, digits, cells + floor, notes, bold, comparison.file, place)


def summarise(values: Sequence[float]) -> tuple[float, float | None, int]:
    """The mean, the sample standard deviation (None for one value) and the number of values.

    >>> summarise([1.0, 3.0, 5.0])
    (3.0, 2.0, 3)
    """
    return fmean(values), stdev(values) if len(values) > 1 else None, len(values)


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    text = decimal(cell, digits)
    return f"{cell:.0e}" if cell and float(text) == 0 else text  # a p value is never 0.0000


def _columns(
    lines: dict[str, list[RunRow]], metric: str, modalities: tuple[str, ...], baseline: str
) -> tuple[tuple[str, ...], tuple[int, ...], list[tuple[Cell, ...]]]:
    """The columns, their digits, and the cells; columns in which nothing was measured are left out."""
    main = {label: summarise(_values(runs, lambda row: row.value)) for label, runs in lines.items()}
    columns: list[tuple[str, int, list[Cell]]] = [
        ("method", 0, list(lines)),
        (f"test {metric}", 4, [mean for mean, _, _ in main.values()]),
        ("sd", 4, [sd for _, sd, _ in main.values()]),
        ("n", 0, [n for _, _, n in main.values()]),
    ]
    for name, key in SECOND:
        columns.append((name, 4, _means(lines, _metric(f"test/{key}"))))
    for m in modalities:
        columns.append((m, 4, _means(lines, _alone(m))))
    for name, cost in COSTS:
        columns.append((f"× {name}", 2, _relative(lines, cost, baseline)))
    kept = [c for c in columns if c[0] == "method" or any(cell is not None for cell in c[2])]
    cells = list(zip(*(c[2] for c in kept), strict=True))
    return tuple(c[0] for c in kept), tuple(c[1] for c in kept), cells


def _floor_row(comparison: Comparison, columns: Sequence[str]) -> list[tuple[Cell, ...]]:
    """The row of the constant predictor; empty if it is not on record."""
    floor = floor_of(comparison, comparison.metric)
    if floor is None:
        return []
    known: dict[str, Cell] = {"method": floor.name, f"test {comparison.metric}": floor.mean, "sd": floor.sd}
    known["n"] = len(floor.values)
    for name, key in SECOND:
        second = floor_of(comparison, key)
        known[name] = second.mean if second else None
    return [tuple(known.get(column) for column in columns)]


def _values(runs: list[RunRow], read: Read) -> list[float]:
    return [value for value in map(read, runs) if value is not None]


def _metric(name: str) -> Read:
    return lambda row: row.metrics.get(name)


def _alone(modality: str) -> Read:
    return lambda row: row.unimodal.get(modality)


def _means(lines: dict[str, list[RunRow]], read: Read) -> list[Cell]:
    every = [_values(runs, read) for runs in lines.values()]
    return [fmean(values) if values else None for values in every]


def _relative(lines: dict[str, list[RunRow]], cost: Read, baseline: str) -> list[Cell]:
    """For each line its median cost divided by that of its baseline."""

    def read(row: RunRow) -> float | None:
        return None if row.epochs == 0 else cost(row)

    return [
        _ratio(_values(runs, read), _values(baseline_of_costs(lines, runs[0], baseline), read))
        for runs in lines.values()
    ]


def _ratio(mine: list[float], base: list[float]) -> float | None:
    return median(mine) / median(base) if mine and base and median(base) > 0 else None


def baseline_of_costs(lines: Mapping[str, list[RunRow]], like: RunRow, baseline: str) -> list[RunRow]:
    """The runs of the line of method `baseline` whose cost that of the run `like` is divided by; empty without one.

    It is the line with the same settings if there is one, otherwise the line with the fewest settings.
    """
    candidates = [runs for runs in lines.values() if runs[0].method == baseline]

    def distance(runs: list[RunRow]) -> tuple[bool, int]:
        mine, other = runs[0].asked_settings, like.asked_settings
        return mine != other, len(mine)

    return min(candidates, key=distance, default=[])


def _notes(comparison: Comparison, baseline: str, reason: str) -> list[str]:
    rows, lines = comparison.rows, comparison.lines
    notes = [*data_notes(comparison), *([reason] if reason else [])]
    if any(len(runs) > 1 for runs in lines.values()):
        notes.append("sd: sample standard deviation (n - 1) over the n runs, one per seed" + _folds(rows))
    notes += [
        f"{name}: lower is better" for name in dict.fromkeys(row.metric for row in rows) if name in LOWER_IS_BETTER
    ]
    if lines:
        notes.append(
            "modality columns: its own head alone, or a probe head trained apart where the method trains no such head, "
            "on the samples that have the modality; a probe is fitted to the end on the finished encoder, and may be "
            "ahead of a unimodal run of few epochs"
        )
    if any(row.method == baseline for row in rows):
        notes.append(
            f"×: relative to {baseline}, median over runs; time and memory as measured; forwards and backwards "
            "per encoder of the run's own model; - where a method trains nothing itself"
        )
    notes += mixed_notes(comparison, comparison.plainest(baseline) or next(iter(lines), ""))
    notes += floor_notes(comparison, comparison.metric) + training_notes(comparison)
    notes += protocol_notes(comparison) + _cancelled(lines) + missing_notes(lines)
    notes += [
        f"left out: {row.label}, seed {row.seed}: finished without a finite test {row.metric}: {_valueless(row)}"
        for row in comparison.valueless
    ]
    notes += [f"not finished: {row.label}, seed {row.seed}: {row.status}" for row in comparison.unfinished]
    if comparison.replaced:
        notes.append(
            f"left out: {number_of(comparison.replaced, 'older run')} from before the settings, code or harness changed"
        )
    reasons: dict[str, list[str]] = {}
    for method, why in dict.fromkeys(comparison.skipped):
        reasons.setdefault(why, []).append(method)
    notes += [f"left out: {', '.join(methods)}: {why}" for why, methods in reasons.items()]
    return notes + sorted(f"FAILED: {row.label}, seed {row.seed}: {_error(row)}" for row in comparison.failed)


def missing_notes(lines: Mapping[str, list[RunRow]]) -> list[str]:
    """Notes on values of the test part that finished runs lack, with the reasons."""
    counts: dict[tuple[str, str, str], int] = {}
    for label, runs in lines.items():
        for row in runs:
            for reason, names in row.missing.items():
                of_test = [name.removeprefix("test/") for name in names if name.startswith("test/")]
                rest = [name for name in names if not name.startswith("test/")]
                more = [f"{name} of all parts" for name in rest if rest[0].endswith(MORE)]  # those of test come first
                if shown := ", ".join(of_test + more if of_test else []):
                    counts[label, shown, reason] = counts.get((label, shown, reason), 0) + 1
    return [
        f"missing: {names} of {label} in {count} of {len(lines[label])} runs: {reason}"
        for (label, names, reason), count in counts.items()
    ]


def data_notes(comparison: Comparison) -> list[str]:
    """A note on the data of the runs, if other data had the same name."""
    if not comparison.data:
        return []
    others = (
        "newer data of this name are on record" if comparison.older else "older data of this name are on record too"
    )
    return [f"data {comparison.data}: fingerprint and day of the last run; {others}, in a table of their own"]


def protocol_notes(comparison: Comparison) -> list[str]:
    """The protocol card: split, sizes, selection, metric, folds, leaks; preset with its origin; optimiser."""
    cards = dict.fromkeys(row.protocol_card for row in comparison.rows)
    presets = dict.fromkeys((row.preset, row.preset_origin) for row in comparison.rows)
    notes = [f"protocol {card}" for card in cards if card] + sizes_note(comparison.rows)
    notes += [f"preset {name}: {origin}" for name, origin in presets if origin]
    return notes + [f"optimiser: {text}" for text in _optimisers(comparison.lines)]


def _error(row: RunRow) -> str:
    return row.failure or "see its log"


def _valueless(row: RunRow) -> str:
    """Why a finished run has no finite value of its metric, and what gives it one."""
    why = row.why_missing(f"test/{row.metric}")
    if not why:
        return "no reason is on record; train it again (run --force)"
    if why.startswith(NOT_FINITE):
        return f"{why}, as its predictions of the test part are not finite; lower optimizer.lr or set clip_norm"
    return f"{why}; choose a protocol or fold whose test part defines it"


def _folds(rows: list[RunRow]) -> str:
    folds = sorted({row.fold for row in rows if row.fold is not None})
    return f"; folds {', '.join(map(str, folds))}, so that it holds the spread over folds too" if len(folds) > 1 else ""


def _optimisers(lines: dict[str, list[RunRow]]) -> list[str]:
    """One text if all lines have the same optimiser; otherwise one for each optimiser, with its lines."""
    users: dict[str, list[str]] = {}
    for label, runs in lines.items():
        settings = runs[0].settings
        if "optimizer.name" in settings:
            users.setdefault(f"{settings['optimizer.name']}, lr {settings.get('optimizer.lr')}", []).append(label)
    return [text if len(users) == 1 else f"{text} ({', '.join(labels)})" for text, labels in users.items()]


def _cancelled(lines: dict[str, list[RunRow]]) -> list[str]:
    """A warning for methods that scale gradients under Adam.

    Adam divides by the running size of the gradient, so a slowly varying factor on the gradient has almost no effect.
    """
    affected = [label for label, runs in lines.items() if any(_is_cancelled(row) for row in runs)]
    if not affected:
        return []
    remedy = "compare with --set optimizer.name=sgd, or scale the learning rate where the method offers apply_to=lr"
    return [f"WARNING: Adam largely cancels the gradient scaling of {', '.join(affected)}; {remedy}"]


def _is_cancelled(row: RunRow) -> bool:
    if not row.scales_gradients or row.settings.get("optimizer.name") not in ("adam", "adamw"):
        return False
    return not any(key.endswith("apply_to") and value == "lr" for key, value in row.settings.items())
