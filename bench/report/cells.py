"""Cells of CSV files that a spreadsheet shows as text: one that it would take for a formula begins with an apostrophe.

Spreadsheets execute cells that begin with = + - @, or with a tab or carriage return before them, and some split lines
at semicolons too (https://owasp.org/www-community/attacks/CSV_Injection). Names come from files, settings and failures,
and may begin with anything. Numbers are numbers, also where they are texts.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from mcr_bench.bench.printable import shown

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)|-+")  # the last: nothing was measured
# What begins a formula, at the start of a text, or of a part of it if something else than commas separates cells.
FORMULA = re.compile("(^|[;\t\r\n])([\\s'\"]*)([=+\\-@＝＋－＠])")


def csv_text(lines: Iterable[Sequence[object]]) -> str:
    """Lines of cells as CSV, texts without control characters and formulas; None is an empty cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[harmless(cell) for cell in line] for line in lines])
    return out.getvalue()


def harmless(cell: object) -> object:
    """A cell; of a text the parts that a spreadsheet would execute begin with an apostrophe.

    >>> harmless("=1+1"), harmless("-0.5"), harmless(-0.5), harmless("a;@b"), harmless("joint [lr=-1]")
    ("'=1+1", '-0.5', -0.5, "a;'@b", 'joint [lr=-1]')
    """
    if not isinstance(cell, str):
        return cell
    text = shown(cell)
    return text if NUMBER.fullmatch(text) else FORMULA.sub(r"\1\2'\3", text)
