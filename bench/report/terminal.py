"""Tables and plans as text for a terminal, or as data for a program."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.printable import printable

if TYPE_CHECKING:
    from mcr_bench.bench.planning.plan import Plan


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print each table with its title and notes; the terminal wraps long lines, so that nothing is cut."""
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
    """The lines of a table, with names aligned to the left and numbers to the right."""
    cells = [[printable(cell) for cell in line] for line in (table.columns, *table.text())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([c[0].ljust(widths[0]), *map(str.rjust, c[1:], widths[1:])]).rstrip() for c in cells]


def table_data(table: Table) -> dict[str, object]:
    """A table as plain data, for JSON, with its rows as dicts at full precision."""
    rows = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    leading = [row[0] for i, row in enumerate(table.rows) if i in table.bold]
    floor = None if table.floor is None else table.rows[table.floor][0]
    return {"title": table.title, "rows": rows, "notes": table.notes, "leading": leading, "floor": floor}


def plan_rows(plan: "Plan", finished: Iterable[str]) -> list[dict[str, object]]:
    """One row per run of a plan, with its state, the reason for it, and the keys of the runs that it starts from."""
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
            "reason": "requested" if run.key in plan.requested else "dependency",
            "needs": " ".join(needed.key for needed in run.dependencies),
        }
        for run in plan.runs
    ]
