"""Tables of a report: sortable by the page's script, in a box of their own that scrolls, cells that lead somewhere."""

from collections.abc import Callable, Collection, Sequence
from math import isnan

from mcr_bench.bench.analysis.table import Cell, Table
from mcr_bench.bench.report.html.markup import Markup, items, join, tag

Link = Callable[[int, int], str | None]  # row, column -> where the cell leads
Line = tuple[Sequence[Cell], Sequence[object]]  # values, what is shown of them
LONG = 24  # characters of a cell whose column must not be squeezed
WIDE = 14  # columns from which on paper needs smaller type


def table_markup(table: Table, caption: str, link: Link | None = None) -> Markup:
    """The table without its title and notes; numbers carry their full precision in `data-value`.

    caption: what a screen reader announces, not shown where a heading says it.
    """
    shown = [
        [_linked(_marked(text, table.is_bold(i, j)), link and link(i, j), j) for j, text in enumerate(texts)]
        for i, texts in enumerate(table.text())
    ]
    return grid(caption, table.columns, list(zip(table.rows, shown, strict=True)), table.bold)


def grid(caption: str, columns: Sequence[object], lines: Sequence[Line], bold: Collection[int] = ()) -> Markup:
    """A table of lines: values to sort by and what is shown of them. bold: the lines that lead."""
    numbers = {j for j in range(len(columns)) if _holds_numbers([values[j] for values, _ in lines])}
    heads = (tag("th", name, scope="col", class_="num" if j in numbers else None) for j, name in enumerate(columns))
    places = [(j, j in numbers) for j in range(len(columns))]
    rows = [
        tag("tr", *map(_cell, values, shown, places), class_="lead" if i in bold else None)
        for i, (values, shown) in enumerate(lines)
    ]
    parts = (tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", join(rows, "\n")))
    body = tag("table", *parts, class_="sortable wide" if len(columns) >= WIDE else "sortable")
    return tag("div", body, class_="scroll", role="region", aria_label=caption)


def notes_of(table: Table, leave_out: Sequence[str] = ()) -> Markup:
    """The table's notes."""
    return items((note for note in table.notes if note not in leave_out), class_="notes")


def _holds_numbers(values: Sequence[Cell]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in values)


def _cell(value: Cell, shown: object, place: tuple[int, bool]) -> Markup:
    """place: the column, and whether it holds numbers."""
    column, numbers = place
    if column == 0 and not isinstance(value, float):
        number = isinstance(value, int)
        return tag("th", shown, scope="row", data_value=value if number else None, class_="num" if number else None)
    if not isinstance(value, int | float):
        text = "long" if len(str(value)) > LONG else None
        return tag("td", shown, class_="num" if numbers else text)
    return tag("td", shown, data_value=None if isnan(value) else repr(value), class_="num")


def _marked(shown: str, bold: bool) -> object:
    return tag("strong", shown) if bold else shown


def _linked(shown: object, target: str | None, column: int) -> object:
    """Past the second column links do not stop the tab key: they all lead to the same runs."""
    return tag("a", shown, href=f"#{target}", tabindex=-1 if column > 1 else None) if target else shown
