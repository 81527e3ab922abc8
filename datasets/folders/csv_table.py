"""A CSV table as a source: a line of names, then a line per sample; all cells of a column decide its type."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.core.inputs.texts import GROWTH
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.folders.arrow import array_of_column
from mcr_bench.datasets.folders.lists import Padded

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 2**26  # bytes: no row may be longer
TRUTH = ("true", "false")


class CsvTable:
    """An open source.

    keys: its columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        check_size(path, GROWTH * path.stat().st_size)
        self.keys, lines = _names(path)
        self._table = _cells(path, self.keys, lines)

    def memory(self, key: str) -> int:
        """The bytes of memory that a column takes: its share of what the file does."""
        return GROWTH * self._path.stat().st_size // len(self.keys)

    def read(self, key: str, text: bool) -> Array | Padded:
        """(N,) of a column: truth values, whole numbers, floats (NaN for an empty cell), or else text.

        text: whether it is text whatever its cells are, so that 007 stays what it is.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.keys.count(key) > 1:
            raise UserError(f"'{self._path}' has two columns '{key}'. Rename one of them.")
        cells = pc.utf8_trim_whitespace(self._table.column(self.keys.index(key)))
        where = f"'{self._path}': '{key}'"
        if text:
            return array_of_column(where, cells)
        if pc.all(pc.is_in(pc.utf8_lower(cells), pa.array(TRUTH))).as_py() and len(cells):
            return np.asarray(pc.equal(pc.utf8_lower(cells), TRUTH[0]))
        for kind in (pa.int64(), pa.float64()):
            try:
                filled = cells if kind == pa.int64() else pc.if_else(pc.equal(cells, ""), "nan", cells)
                return np.asarray(pc.cast(filled, kind).to_numpy())
            except pa.ArrowInvalid:
                continue
        return array_of_column(where, cells)


def _names(path: Path) -> tuple[tuple[str, ...], int]:
    """The names in the first line that is not empty, and how many lines end with it; a quoted name may hold several."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            names = [name.strip() for name in next(filter(None, rows), [])]
    except (ValueError, csv.Error) as error:
        raise _wrong(path, error) from error
    for mark, said in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and mark in names[0]:
            line = f"pd.read_csv(..., sep={mark!r}).to_csv(..., index=False)"
            raise UserError(f"'{path}' is separated by {said}. Save it with commas: {line}.")
    if not names:
        raise UserError(f"'{path}' has no line of names. Write one, then a line per sample.")
    return tuple(names), rows.line_num


def _cells(path: Path, names: tuple[str, ...], lines: int) -> "pa.Table":
    """All cells below the first lines as text."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        return arrow_csv.read_csv(
            path,
            arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=list(names), skip_rows=lines),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _wrong(path, error) from error


def _wrong(path: Path, error: Exception) -> UserError:
    words = quoted(error)
    return UserError(
        f"'{path}' cannot be read as CSV ({words}). Save it as UTF-8 with commas, a line of names, and as many "
        "cells in each row."
    )
