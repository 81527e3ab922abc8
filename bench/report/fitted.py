"""Columns of text that fit a terminal: cells are wrapped at blanks, or columns stand below each other."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from mcr_bench.bench.printable import printable

GAP = 2  # blanks between columns
ROOMY = 12  # characters that a column of wrapped text has at least
Cells = Sequence[Sequence[str]]
Block = list[list[str]]  # row -> its lines


def terminal_width(err: bool = False) -> int | None:
    """The columns of the terminal, or of COLUMNS; None where the output goes elsewhere, and is not to be folded.

    err: whether stderr is meant, and not stdout.
    """
    if os.environ.get("COLUMNS", "").isdigit() or (sys.stderr if err else sys.stdout).isatty():
        return shutil.get_terminal_size().columns
    return None


def fitted(cells: Cells, width: int | None, numbers: bool = False) -> list[Block]:
    """Blocks of rows of lines, none longer than `width` unless a word is; without a width one block of single lines.

    cells: rows of texts, of which the first has the names of the columns. numbers: whether all columns but the first
    hold numbers, which are aligned to the right. Where wrapping cells is not enough, there are several blocks, each of
    which begins with the first column.

    >>> fitted([["name", "about"], ["a", "one two three"]], 18)
    [[['name  about'], ['a     one two', '      three']]]
    """
    natural = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is None or _total(natural) <= width:
        return [_block(cells, natural, numbers)]
    words = [_word(column) for column in zip(*cells, strict=True)]
    least = [min(size, max(word, ROOMY)) for size, word in zip(natural, words, strict=True)]
    if not numbers and _total(least) <= width:
        return [_block(cells, _shared(least, natural, width - _total(least)), numbers)]
    folds = _folds(natural, least, width)
    return [_block([[row[i] for i in group] for row in cells], sizes, numbers) for group, sizes in folds]


def grid_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as aligned columns with their names, in the width of the terminal; empty columns are left out."""
    names = [name for name in (rows[0] if rows else {}) if any(_text(row, name) for row in rows)]
    cells = [
        [name.upper().replace("_", " ") for name in names],
        *([printable(" ".join(_text(row, name).split())) for name in names] for row in rows),
    ]
    blocks = fitted(cells, terminal_width()) if names else []
    return "\n\n".join("\n".join(line for row in block for line in row) for block in blocks)


def wrapped(text: str, width: int | None, between: str = " · ") -> str:
    """A text whose lines fit the width; parts are kept whole, further lines are indented.

    >>> print(wrapped("a b · c d · e", 9))
    a b · c d
      · e
    """
    if width is None:
        return text
    return "\n".join(_lines(line, width, between) for line in text.splitlines())


def _text(row: Mapping[str, object], name: str) -> str:
    """A value in a table: of a list its texts, the name of the column where it is true, nothing where it is false."""
    value = row[name]
    if isinstance(value, bool):
        return name if value else ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return "" if value is None else str(value)


def _lines(line: str, width: int, between: str) -> str:
    parts = line.split(between)
    whole = [part.replace(" ", "\0") if len(part) < width - 4 else part for part in parts]
    joined = f" {between.strip()}\0".join(whole) if len(parts) > 1 else line
    indent = " " * (len(line) - len(line.lstrip()))
    told = textwrap.wrap(
        joined.lstrip("\0 "),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(told).replace("\0", " ")


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + GAP * (len(sizes) - 1)


def _word(column: Sequence[str]) -> int:
    return max((len(word) for cell in column for word in cell.split()), default=0)


def _shared(least: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """The least sizes, and what room is left shared among the columns by what they lack."""
    lack = [size - small for size, small in zip(natural, least, strict=True)]
    return [small + room * missing // sum(lack) for small, missing in zip(least, lack, strict=True)]


def _folds(natural: Sequence[int], least: Sequence[int], width: int) -> list[tuple[list[int], list[int]]]:
    """The columns of each block with their sizes; the first column is in every one, at most half as wide as a line."""
    first = min(natural[0], max(least[0], width // 2))
    folds: list[tuple[list[int], list[int]]] = []
    for i in range(1, len(natural)):
        size = min(natural[i], max(least[i], width - first - GAP))
        if not folds or _total([*folds[-1][1], size]) > width:
            folds.append(([0], [first]))
        folds[-1][0].append(i)
        folds[-1][1].append(size)
    return folds or [([0], [first])]


def _block(cells: Cells, sizes: Sequence[int], numbers: bool) -> Block:
    return [_row(row, sizes, numbers) for row in cells]


def _row(row: Sequence[str], sizes: Sequence[int], numbers: bool) -> list[str]:
    """The lines of a row whose cells are wrapped to these sizes."""
    told = [_cell(cell, size, "" if i else "  ") for i, (cell, size) in enumerate(zip(row, sizes, strict=True))]
    lines = zip_longest(*told, fillvalue="")
    return [(" " * GAP).join(_placed(line, sizes, numbers)).rstrip() for line in lines]


def _cell(text: str, size: int, indent: str) -> list[str]:
    if len(text) <= size:
        return [text]
    lines = textwrap.wrap(text, size, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines or [""]


def _placed(line: Sequence[str], sizes: Sequence[int], numbers: bool) -> list[str]:
    rest = [text.rjust(size) if numbers else text.ljust(size) for text, size in zip(line[1:], sizes[1:], strict=True)]
    return [line[0].ljust(sizes[0]), *rest]
