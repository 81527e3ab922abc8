"""Tables of a report: sortable by the page's script, in a box of their own that scrolls, cells that lead somewhere."""

from collections.abc import Callable, Sequence
from math import isnan

from mcr_bench.bench.report.html.markup import Markup, items, join, tag
from mcr_bench.bench.report.table import Cell, Table

Link = Callable[[int, int], str | None]  # row, column -> where the cell leads
WIDE = 14  # columns from which on paper needs smaller type


def table_markup(table: Table, caption: str, link: Link | None = None) -> Markup:
    """The table without its title and notes; numbers carry their full precision in `data-value`.

    caption: what a screen reader announces, not shown where a heading says it.
    """
    lines = []
    for i, texts in enumerate(table.text()):
        cells = [
            _cell(table.rows[i][j], _linked(_marked(shown, table.is_bold(i, j)), link and link(i, j), j), first=j == 0)
            for j, shown in enumerate(texts)
        ]
        lines.append(tag("tr", *cells, class_="lead" if i in table.bold else None))
    return grid(caption, table.columns, lines)


def grid(caption: str, columns: Sequence[object], lines: Sequence[Markup]) -> Markup:
    """A table of ready rows."""
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in columns)))
    parts = (tag("caption", caption), head, tag("tbody", join(lines, "\n")))
    wide = " wide" if len(columns) >= WIDE else ""
    body = tag("table", *parts, class_=f"sortable{wide}")
    return tag("div", body, class_="scroll", role="region", aria_label=caption)


def line(values: Sequence[Cell], texts: Sequence[object]) -> Markup:
    """A row: values to sort by, texts to show."""
    return tag("tr", *(_cell(v, shown, first=j == 0) for j, (v, shown) in enumerate(zip(values, texts, strict=True))))


def notes_of(table: Table, leave_out: Sequence[str] = ()) -> Markup:
    """The table's notes."""
    return items((note for note in table.notes if note not in leave_out), class_="notes")


def _cell(value: Cell, shown: object, first: bool) -> Markup:
    if first and not isinstance(value, float):
        return tag("th", shown, scope="row")
    number = isinstance(value, int | float) and not isnan(value)
    kind = "num" if isinstance(value, int | float) or value is None else None
    return tag("td", shown, data_value=repr(value) if number else None, class_=kind)


def _marked(shown: str, bold: bool) -> object:
    return tag("strong", shown) if bold else shown


def _linked(shown: object, target: str | None, column: int) -> object:
    """Past the second column links do not stop the tab key: they all lead to the same runs."""
    return tag("a", shown, href=f"#{target}", tabindex=-1 if column > 1 else None) if target else shown
