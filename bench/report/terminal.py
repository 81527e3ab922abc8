"""Comparison tables, rows of the record and plans, as text for a terminal or as data for a program."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from mcr_bench.bench.analysis.compared import Row
from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.analysis.versions import SHORT
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.printable import printable

if TYPE_CHECKING:
    from mcr_bench.bench.planning.plan import Plan

RESULT_COLUMNS = (
    *("key", "method", "label", "dataset", "protocol", "fold", "seed", "preset", "status", "metric", "value"),
    *("unimodal", "seconds", "seconds_per_step", "run_id"),
)


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Each table under its title, with its notes below; long lines are left to the terminal, so that nothing is cut."""
    for table in tables:
        floor = None if table.floor is None else table.floor + 1
        console.print(Text(table.title, style="bold"), soft_wrap=True)
        for number, line in enumerate(_aligned(table) if table.rows else []):
            heading_or_leading = number == 0 or number - 1 in table.bold
            style = "bold" if heading_or_leading else "dim" if number == floor else ""
            console.print(Text(line, style=style), soft_wrap=True)
        for note in table.notes:
            style = "bold red" if note.startswith(("WARNING", "FAILED")) else "dim"
            console.print(Text("  " + note, style=style), soft_wrap=True)
        console.print()


def _aligned(table: Table) -> list[str]:
    """Names to the left, numbers to the right."""
    cells = [[printable(cell) for cell in line] for line in (table.columns, *table.text())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([c[0].ljust(widths[0]), *map(str.rjust, c[1:], widths[1:])]).rstrip() for c in cells]


def table_data(table: Table) -> dict[str, Any]:
    """A table for JSON: its rows as dicts at full precision."""
    rows = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    leading = [row[0] for i, row in enumerate(table.rows) if i in table.bold]
    floor = None if table.floor is None else table.rows[table.floor][0]
    return {"title": table.title, "rows": rows, "notes": table.notes, "leading": leading, "floor": floor}


def result_rows(rows: Iterable[Row]) -> list[Row]:
    """The columns of `results`, one dict per run."""
    return [{name: row[name] for name in RESULT_COLUMNS} for row in rows]


def results_csv(rows: Sequence[Row]) -> str:
    """One line per run; the per-modality values stand in columns `unimodal.MODALITY`."""
    modalities = sorted({m for row in rows for m in row["unimodal"]})
    names = [name for name in RESULT_COLUMNS if name != "unimodal"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, *(f"unimodal.{m}" for m in modalities)])
    for row in rows:
        writer.writerow([*(row[name] for name in names), *(row["unimodal"].get(m) for m in modalities)])
    return out.getvalue()


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """`results_csv` into a file; UserError where it cannot be written."""
    try:
        path.write_text(results_csv(rows), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--csv {path}: {error.strerror}. Give a file in a folder you may write to.") from error


def results_grid(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The columns of `results` that fit a terminal; data: short fingerprints where a dataset has several."""
    rows = list(rows)
    prints: dict[str, set[str]] = {}
    for row in rows:
        prints.setdefault(row["dataset"], set()).add(row["tags"].get("fingerprint", ""))
    short = ("label", "dataset", "protocol", "fold", "seed", "preset", "status", "metric")
    return [
        {name: row[name] for name in short}
        | {
            "data": row["tags"].get("fingerprint", "")[:SHORT] if len(prints[row["dataset"]]) > 1 else "",
            "value": _number(row["value"]),
            "unimodal": " ".join(f"{m}={v:.4f}" for m, v in row["unimodal"].items()),
            "seconds": _number(row["seconds"], 1),
            "key": row["key"],
        }
        for row in rows
    ]


def plan_rows(plan: "Plan", finished: Iterable[str]) -> list[dict[str, Any]]:
    """One row per run of a plan: its state, and the keys of the runs that it needs."""
    done = set(finished)
    return [
        {
            "key": run.key,
            "run": run.label,
            "dataset": run.dataset,
            "modalities": ",".join(run.modalities),
            "protocol": run.protocol,
            "fold": run.fold,
            "seed": run.seed,
            "preset": run.preset,
            "state": "finished" if run.key in done else "to train",
            "asked": "asked for" if run.key in plan.requested else "dependency",
            "needs": " ".join(needed.key for needed in run.dependencies),
        }
        for run in plan.runs
    ]


def _number(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"
