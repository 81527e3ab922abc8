"""Tables of a report: sortable by the page's script, in a box of their own that scrolls, cells that lead somewhere."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import isnan

from markupsafe import Markup

from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.report.html.markup import render

LONG = 24  # characters of a cell whose column must not be squeezed
WIDE = 14  # columns from which on paper needs smaller type

Link = Callable[[int, int], str | None]  # row, column -> where the cell leads


@dataclass(frozen=True)
class Shown:
    """What a cell shows.

    text: as it is printed.
    link: the anchor to which it leads, without `#`.
    page: the file in the same folder that has the anchor; empty for the page itself.
    bold: whether it is set in bold type.
    code: whether it is an id or a version, set in the type of code.
    """

    text: object
    link: str | None = None
    page: str = ""
    bold: bool = False
    code: bool = False


Line = tuple[Sequence[Cell], Sequence[Shown]]  # values to sort by, and what is shown of them


@dataclass(frozen=True)
class Placed:
    """A cell in its column, as the template `table` takes it.

    shown: its text and what leads from it.
    value: the number to sort by in full precision; None where the cell sorts as text.
    css: its class in the style sheet.
    heading: whether it names its row.
    """

    shown: Shown
    value: str | None
    css: str
    heading: bool


def table_markup(table: Table, caption: str, link: Link | None = None, leave_out: Collection[str] = ()) -> Markup:
    """The table with its notes but without its title; numbers carry their full precision in `data-value`.

    caption: what a screen reader announces, not shown where a heading says it; leave_out: notes that stand elsewhere.
    """
    shown = [
        [Shown(text, link and link(i, j), bold=table.is_bold(i, j)) for j, text in enumerate(texts)]
        for i, texts in enumerate(table.text())
    ]
    notes = [note for note in table.notes if note not in leave_out]
    return grid(caption, table.columns, list(zip(table.rows, shown, strict=True)), table.bold, notes)


def grid(
    caption: str,
    columns: Sequence[str],
    lines: Sequence[Line],
    bold: Collection[int] = (),
    notes: Sequence[str] = (),
) -> Markup:
    """A table of lines. bold: the numbers of the lines that lead."""
    numbers = [all(_is_number(values[j]) for values, _ in lines) for j in range(len(columns))]
    rows = [
        (i in bold, [_placed(*cell) for cell in zip(values, shown, range(len(columns)), numbers, strict=True)])
        for i, (values, shown) in enumerate(lines)
    ]
    heads = list(zip(columns, numbers, strict=True))
    return render("table", caption=caption, wide=len(columns) >= WIDE, heads=heads, rows=rows, notes=notes)


def _is_number(value: Cell) -> bool:
    return value is None or isinstance(value, int | float)


def _placed(value: Cell, shown: Shown, column: int, numbers: bool) -> Placed:
    """numbers: whether the column holds nothing else."""
    heading = column == 0 and not isinstance(value, float)
    if isinstance(value, int | float):
        return Placed(shown, None if isnan(value) else repr(value), "num", heading)
    if heading:
        return Placed(shown, None, "", heading)
    return Placed(shown, None, "num" if numbers else "long" if len(str(value)) > LONG else "", heading)
