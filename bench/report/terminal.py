"""Tables and plans as text for a terminal, or as data for a program."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mcr_bench.bench.analysis.table import Table
from mcr_bench.bench.printable import printable
from mcr_bench.bench.report.fitted import Block, fitted, terminal_width, wrapped

if TYPE_CHECKING:
    from mcr_bench.bench.planning.plan import Plan


def print_tables(console: Console, tables: Iterable[Table]) -> None:
    """Print each table with its title and notes; columns that a terminal has no room for stand below the others."""
    width = terminal_width()
    for table in tables:
        console.print(Text(wrapped(table.title, width), style="bold"), soft_wrap=True)
        blocks = fitted(_cells(table), width, numbers=True) if table.rows else []
        for number, block in enumerate(blocks):
            if number:
                console.print()
            _print_block(console, table, block)
        for note in table.notes:
            style = "bold red" if note.startswith(("WARNING", "FAILED")) else "dim"
            console.print(Text(wrapped("  " + note, width), style=style), soft_wrap=True)
        console.print()


def _print_block(console: Console, table: Table, block: Block) -> None:
    floor = None if table.floor is None else table.floor + 1
    for number, lines in enumerate(block):
        heading_or_leading = number == 0 or number - 1 in table.bold
        style = "bold" if heading_or_leading else "dim" if number == floor else ""
        for line in lines:
            console.print(Text(line, style=style), soft_wrap=True)


def _cells(table: Table) -> list[list[str]]:
    """The names of the columns and the cells, as printed."""
    return [[printable(cell) for cell in line] for line in (table.columns, *table.text())]


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
