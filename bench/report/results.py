"""The runs of a record for `mcr-bench results`: JSON and CSV with stable keys for programs, columns for a terminal.

Both hold every field of `RunRow` (`bench/record/row.py` says what each is), and so every setting and metric. Beside the
fields: `schema`, and the two costs that results had before there was a schema, `seconds` and `seconds_per_step`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from mcr_bench.bench.analysis.budgets import conditions_of
from mcr_bench.bench.analysis.versions import SHORT
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.json_values import Json, to_json
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.row import Costs, RunRow
from mcr_bench.bench.report.cells import csv_text
from mcr_bench.bench.words import decimal

SCHEMA = 1  # raised when a key goes or changes its meaning; a further key leaves it as it is
FIRST = (
    *("key", "method", "label", "dataset", "protocol", "fold", "seed", "preset", "status", "metric", "value"),
    *("seconds", "seconds_per_step", "run_id"),
)
COSTS = [f.name for f in fields(Costs)]
SPREAD = ("unimodal", "costs", "samples", "floors", "versions", "settings", "metrics")  # a CSV column per name in them


def result_data(row: RunRow) -> dict[str, Json]:
    """A run as plain data, for JSON; numbers that are not finite are null."""
    times = {"seconds": row.costs.seconds, "seconds_per_step": row.costs.seconds_per_step}
    return {"schema": SCHEMA} | {f.name: to_json(getattr(row, f.name)) for f in fields(row)} | times


def results_csv(rows: Sequence[RunRow]) -> str:
    """One line per run with the same keys as CSV: lists are joined by commas, objects are JSON.

    Of unimodal, costs, samples, floors, versions, settings and metrics each name has a column, such as
    `metrics.test/accuracy`.
    """
    columns = columns_of(rows)
    cells = map(cells_of, rows)
    return csv_text([columns, *([one.get(column) for column in columns] for one in cells)])


def write_csv(rows: Sequence[RunRow], path: Path) -> None:
    """Write `results_csv` to a file; UserError if it cannot be written."""
    try:
        write_whole(path, results_csv(rows))
    except BrokenPipeError:  # whoever reads /dev/stdout has seen enough
        raise
    except OSError as error:
        raise UserError(f"--csv {path}: {error.strerror}. Give a file in a folder you may write to.") from error


def results_grid(rows: Iterable[RunRow]) -> list[dict[str, str | int]]:
    """The columns for a terminal; `data` has short fingerprints if a dataset has several."""
    rows = list(rows)
    prints: dict[str, set[str]] = {}
    for row in rows:
        prints.setdefault(row.dataset, set()).add(row.fingerprint)
    return [_line(row, len(prints[row.dataset]) > 1) for row in rows]


def _line(row: RunRow, several: bool) -> dict[str, str | int]:
    return {
        "label": row.label,
        "dataset": row.dataset,
        "protocol": row.protocol,
        "fold": row.fold,
        "seed": row.seed,
        "preset": row.preset,
        "status": row.status,
        "metric": row.metric,
        "data": row.fingerprint[:SHORT] if several else "",
        "value": _number(row.value),
        "unimodal": " ".join(f"{m}={decimal(v, 4)}" for m, v in row.unimodal.items()),
        "seconds": _number(row.costs.seconds, 1),
        "device": conditions_of(row),
        "key": row.key,
    }


def columns_of(rows: Iterable[RunRow]) -> list[str]:
    """The columns of results before there was a schema, then the other fields, then those of single names."""
    named: dict[str, dict[str, None]] = {name: {} for name in SPREAD} | {"costs": dict.fromkeys(COSTS)}
    for row in rows:
        for name in SPREAD:
            named[name] |= dict.fromkeys(_inner(row, name))
    unimodal = [f"unimodal.{name}" for name in sorted(named.pop("unimodal"))]
    single = [f.name for f in fields(RunRow) if f.name not in (*SPREAD, *FIRST)]
    spread = [f"{name}.{inner}" for name, names in named.items() for inner in names]
    return [*FIRST, *unimodal, "schema", *single, *spread]


def cells_of(row: RunRow) -> dict[str, object]:
    """Column -> its value."""
    whole = {f.name: _cell(getattr(row, f.name)) for f in fields(row) if f.name not in SPREAD}
    spread = {f"{name}.{inner}": value for name in SPREAD for inner, value in _inner(row, name).items()}
    return (
        whole
        | spread
        | {"schema": SCHEMA, "seconds": row.costs.seconds, "seconds_per_step": row.costs.seconds_per_step}
    )


def _inner(row: RunRow, name: str) -> Mapping[str, object]:
    value = getattr(row, name)
    return vars(value) if isinstance(value, Costs) else dict(value)


def _cell(value: object) -> object:
    """A value as a cell: names joined by commas, objects as JSON, anything else unchanged."""
    if isinstance(value, tuple):
        return ",".join(value)
    return json.dumps(to_json(value)) if isinstance(value, Mapping) else value


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else decimal(value, digits)
