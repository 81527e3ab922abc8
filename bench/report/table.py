"""Rows of the record -> comparison tables, one per data, protocol and set of modalities; pure functions of dicts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from mcr_bench.bench.metrics import CLASSIFICATION, REGRESSION

Row = dict[str, Any]
Cell = str | float | int | None
Skipped = tuple[str, str, str]

LOWER_IS_BETTER = {m.name for m in (*CLASSIFICATION, *REGRESSION) if not m.higher_is_better}
ORDER = ("unimodal", "ensemble")
SECOND = (("macro-F1", "test/macro_f1"), ("Pearson r", "test/pearson"))
COSTS: tuple[tuple[str, Callable[[Row], Any]], ...] = (
    ("step time", lambda row: row.get("seconds_per_step")),
    ("forwards", lambda row: row["metrics"].get("cost/encoder_forwards")),
    ("backwards", lambda row: row["metrics"].get("cost/encoder_backwards")),
    ("memory", lambda row: row["metrics"].get("cost/peak_memory_mib")),
)


@dataclass(frozen=True)
class Table:
    """digits[i]: decimals of column i where it holds floats; cells keep full precision, None is "not measured"."""

    title: str
    columns: tuple[str, ...]
    digits: tuple[int, ...]
    rows: list[tuple[Cell, ...]]
    notes: list[str]

    def text(self) -> list[list[str]]:
        """The cells as printed."""
        return [[_text(cell, digits) for cell, digits in zip(row, self.digits, strict=True)] for row in self.rows]


def comparison_tables(rows: Iterable[Row], baseline: str, skipped: Sequence[Skipped] = ()) -> list[Table]:
    """One table per (data, protocol, modalities). rows: as from `Record.rows`; skipped: (dataset, method, reason).

    baseline: the method to which costs are relative. Runs of one label whose settings or code have changed since its
    newest run are left out, and a note says so.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["started"]):
        data = row["tags"].get("data_identity", row["dataset"])
        groups.setdefault((row["dataset"], row["protocol"], data), []).append(row)
    return [
        _table(modalities, members, baseline, [s for s in skipped if s[0] == dataset])
        for (dataset, *_), group in sorted(groups.items())
        for modalities, members in _by_modalities(group)
    ]


def summarise(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, sample standard deviation (None for one value) and number of values."""
    return fmean(values), stdev(values) if len(values) > 1 else None, len(values)


def _text(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)


def _shared_overrides(rows: list[Row]) -> list[str]:
    """The `--set` settings that every run of a table has: they belong above it, not in every line."""
    first, *others = [row["tags"].get("overrides", "").split() for row in rows]
    return [text for text in first if all(text in other for other in others)]


def _without(row: Row, shared: list[str]) -> Row:
    """The row under a label that names only the settings in which it differs from others."""
    every = row["tags"].get("overrides", "")
    own = " ".join(text for text in every.split() if text not in shared)
    return {**row, "label": row["label"].removesuffix(f" [{every}]") + (f" [{own}]" if own else "")} if every else row


def modalities_of(row: Row) -> tuple[str, ...]:
    """The modalities that a run used."""
    return tuple(m for m in row["tags"].get("modalities", "").split(",") if m)


def _single(row: Row) -> bool:
    return str(row["tags"]["role"]) == ORDER[0]


def _by_modalities(group: list[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Unimodal runs belong to the table of every set that holds their modality."""
    single = [row for row in group if _single(row)]
    sets = dict.fromkeys(modalities_of(row) for row in group if not _single(row))
    if not sets:
        sets = {tuple(dict.fromkeys(m for row in single for m in modalities_of(row))): None}
    return [
        (
            chosen,
            [row for row in single if set(modalities_of(row)) <= set(chosen)]
            + [row for row in group if not _single(row) and modalities_of(row) == chosen],
        )
        for chosen in sorted(sets)
    ]


def _table(modalities: tuple[str, ...], rows: list[Row], baseline: str, skipped: list[Skipped]) -> Table:
    shared = _shared_overrides(rows)
    rows = [_without(row, shared) for row in rows]
    last, presets = rows[-1], dict.fromkeys(row["preset"] for row in rows)
    finished = [row for row in rows if row["status"] == "finished"]
    lines = _lines(finished, baseline, with_preset=len(presets) > 1)
    replaced = len(finished) - sum(map(len, lines.values()))
    notes = _notes(lines, baseline, skipped, _failed(rows), replaced)
    columns, digits, cells = _columns(lines, str(last["metric"]), modalities, baseline)
    title = f"{last['dataset']} · {' + '.join(modalities)} · protocol {last['protocol']}"
    title += f" · preset {last['preset']}" * (len(presets) == 1) + f" · {' '.join(shared)}" * bool(shared)
    return Table(title, columns, digits, cells, notes)


def _failed(rows: list[Row]) -> list[Row]:
    """Failed runs whose label, seed and fold no finished run covers."""
    finished = {(row["label"], row["seed"], row["fold"]) for row in rows if row["status"] == "finished"}
    failed = [row for row in rows if row["status"] == "failed"]
    return [row for row in failed if (row["label"], row["seed"], row["fold"]) not in finished]


def _lines(rows: list[Row], baseline: str, *, with_preset: bool) -> dict[str, list[Row]]:
    """Label -> its current runs, one per seed and fold, by role, then the best mean first."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(row["label"] + f" ({row['preset']})" * with_preset, []).append(row)
    current = {label: _current(runs) for label, runs in lines.items()}
    return dict(sorted(current.items(), key=lambda item: _order(item[1], baseline)))


def _current(runs: list[Row]) -> list[Row]:
    """The runs with the configuration (settings and code) of the newest one; the newest of each seed and fold."""
    config = runs[-1]["tags"].get("config")
    return list({(row["seed"], row["fold"]): row for row in runs if row["tags"].get("config") == config}.values())


def _order(runs: list[Row], baseline: str) -> tuple[int, float, str]:
    """Unimodal, ensemble, baseline, then the others; the best mean first, ties by name."""
    role, mean = runs[0]["tags"]["role"], fmean(row["value"] for row in runs)
    rank = ORDER.index(role) if role in ORDER else len(ORDER) + (runs[0]["method"] != baseline)
    return rank, mean if runs[0]["metric"] in LOWER_IS_BETTER else -mean, runs[0]["label"]


def _columns(
    lines: dict[str, list[Row]], metric: str, modalities: tuple[str, ...], baseline: str
) -> tuple[tuple[str, ...], tuple[int, ...], list[tuple[Cell, ...]]]:
    """Columns in which nothing was measured are left out."""
    main = {label: summarise([row["value"] for row in runs]) for label, runs in lines.items()}
    columns: list[tuple[str, int, list[Cell]]] = [
        ("method", 0, list(lines)),
        (f"test {metric}", 4, [mean for mean, _, _ in main.values()]),
        ("sd", 4, [sd for _, sd, _ in main.values()]),
        ("n", 0, [n for _, _, n in main.values()]),
    ]
    for name, key in SECOND:
        columns.append((name, 4, _means(lines, "metrics", key)))
    for m in modalities:
        columns.append((m, 4, _means(lines, "unimodal", m)))
    for name, cost in COSTS:
        columns.append((f"× {name}", 2, _relative(lines, cost, baseline)))
    kept = [c for c in columns if c[0] == "method" or any(cell is not None for cell in c[2])]
    cells = list(zip(*(c[2] for c in kept), strict=True))
    return tuple(c[0] for c in kept), tuple(c[1] for c in kept), cells


def _values(runs: list[Row], read: Callable[[Row], Any]) -> list[float]:
    return [value for value in map(read, runs) if value is not None]


def _means(lines: dict[str, list[Row]], where: str, key: str) -> list[Cell]:
    found = [_values(runs, lambda row: row[where].get(key)) for runs in lines.values()]
    return [fmean(values) if values else None for values in found]


def _relative(lines: dict[str, list[Row]], cost: Callable[[Row], Any], baseline: str) -> list[Cell]:
    """Median cost of a line over the baseline's, of the same preset and settings where there is one."""

    def read(row: Row) -> Any:
        return None if row["metrics"].get("epochs") == 0 else cost(row)

    return [_ratio(_values(runs, read), _values(_baseline(lines, runs[0], baseline), read)) for runs in lines.values()]


def _ratio(mine: list[float], base: list[float]) -> float | None:
    return median(mine) / median(base) if mine and base and median(base) > 0 else None


def _baseline(lines: dict[str, list[Row]], like: Row, baseline: str) -> list[Row]:
    candidates = [runs for runs in lines.values() if runs[0]["method"] == baseline]

    def distance(runs: list[Row]) -> tuple[bool, bool, bool]:
        mine, other = runs[0]["tags"].get("overrides", ""), like["tags"].get("overrides", "")
        return runs[0]["preset"] != like["preset"], mine != other, bool(mine)

    return min(candidates, key=distance, default=[])


def _notes(
    lines: dict[str, list[Row]], baseline: str, skipped: list[Skipped], failed: list[Row], replaced: int
) -> list[str]:
    rows = [row for runs in lines.values() for row in runs]
    notes = []
    if any(len(runs) > 1 for runs in lines.values()):
        notes.append("sd: sample standard deviation (n - 1) over the n runs, one per seed" + _folds(rows))
    notes += [
        f"{name}: lower is better" for name in dict.fromkeys(row["metric"] for row in rows) if name in LOWER_IS_BETTER
    ]
    notes.append(
        "modality columns: its own head alone, or a probe head trained apart where the method trains no such head"
    )
    if any(row["method"] == baseline for row in rows):
        notes.append(
            f"×: relative to {baseline}, median over runs; time and memory as measured; forwards and backwards "
            "per encoder of the run's own model; - where a method trains nothing itself"
        )
    cards = dict.fromkeys(row["tags"].get("protocol_card", "") for row in rows)
    notes += [f"protocol {card}" for card in cards if card]
    notes += [f"optimiser: {text}" for text in _optimisers(lines)] + _cancelled(lines)
    if replaced:
        notes.append(f"left out: {replaced} older run(s) from before the settings, code or harness changed")
    reasons: dict[str, list[str]] = {}
    for _, method, reason in dict.fromkeys(skipped):
        reasons.setdefault(reason, []).append(method)
    notes += [f"left out: {', '.join(methods)}: {reason}" for reason, methods in reasons.items()]
    return notes + sorted(f"FAILED: {row['label']}, seed {row['seed']}: {_error(row)}" for row in failed)


def _error(row: Row) -> str:
    return str(row["tags"].get("failure") or "see its log")


def _folds(rows: list[Row]) -> str:
    folds = sorted({row["fold"] for row in rows if row["fold"] is not None})
    return f"; folds {', '.join(map(str, folds))}, so that it holds the spread over folds too" if len(folds) > 1 else ""


def _optimisers(lines: dict[str, list[Row]]) -> list[str]:
    """One text where all lines share the optimiser, otherwise one per optimiser with its methods."""
    users: dict[str, list[str]] = {}
    for label, runs in lines.items():
        params = runs[0].get("params", {})
        if "optimizer.name" in params:
            users.setdefault(f"{params['optimizer.name']}, lr {params.get('optimizer.lr')}", []).append(label)
    return [text if len(users) == 1 else f"{text} ({', '.join(labels)})" for text, labels in users.items()]


def _cancelled(lines: dict[str, list[Row]]) -> list[str]:
    """Adam divides by the gradient's running size: a slowly varying factor on the gradient has next to no effect."""
    affected = [label for label, runs in lines.items() if any(_is_cancelled(row) for row in runs)]
    if not affected:
        return []
    remedy = "compare with --set optimizer.name=sgd, or scale the learning rate where the method offers apply_to=lr"
    return [f"WARNING: Adam largely cancels the gradient scaling of {', '.join(affected)}; {remedy}"]


def _is_cancelled(row: Row) -> bool:
    params = row.get("params", {})
    applied = any(key.endswith("apply_to") and value == "lr" for key, value in params.items())
    scales = row["tags"].get("scales_gradients") == "true"
    return scales and params.get("optimizer.name") in ("adam", "adamw") and not applied
