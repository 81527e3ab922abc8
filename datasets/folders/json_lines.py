"""A file of JSON lines as a source: one object per sample, with the same keys in each."""

from pathlib import Path
from typing import Any

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import GROWTH, json_of, text_of
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.folders.lists import Padded, array_of


class JsonLines:
    """An open source.

    keys: the keys of its objects, in the order in which they first occur.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = [_object(path, number, line) for number, line in _lines(path)]
        if not self._rows:
            raise UserError(f'\'{path}\' has no line. Write an object per sample: {{"label": "yes", ...}}.')
        self.keys = tuple(dict.fromkeys(key for row in self._rows for key in row))

    def memory(self, key: str) -> int:
        """The bytes of memory that the values of a key take: its share of what the file does."""
        return GROWTH * self._path.stat().st_size // max(1, len(self.keys))

    def read(self, key: str, text: bool) -> Array | Padded:
        """The values of a key, None where an object lacks it."""
        return array_of(f"'{self._path}': '{key}'", [row.get(key) for row in self._rows])


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    try:
        lines = text_of(path).removeprefix("\ufeff").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not UTF-8 ({error.reason}). Save it as UTF-8.") from error
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json_of(line)
    except ValueError as error:
        words = quoted(error)
        raise UserError(f"'{path}': line {number} is not JSON ({words}). Correct it, or remove it.") from error
    if not isinstance(row, dict):
        raise UserError(f'\'{path}\': line {number} is not an object. Write one per sample: {{"label": "yes", ...}}.')
    return row
