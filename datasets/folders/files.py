"""The files that a dataset.toml names, each opened once, by their suffix; and the arrays that sources name in them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.folders.csv_table import CsvTable
from mcr_bench.datasets.folders.json_lines import JsonLines
from mcr_bench.datasets.folders.lists import Padded
from mcr_bench.datasets.folders.npy import NpyFile
from mcr_bench.datasets.folders.parquet import ParquetFile
from mcr_bench.datasets.folders.sources import Source, inside, name_in
from mcr_bench.datasets.folders.torch_file import TorchFile
from mcr_bench.datasets.formats.foreign import wrapping
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error


class ArrayFile(Protocol):
    """An open file of arrays.

    keys: the keys or columns in it; none if it holds a single array.
    """

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys or columns."""

    def memory(self, key: str) -> int:
        """The bytes of memory that an array takes at least, known before it is read."""

    def read(self, key: str, text: bool) -> Array | Padded:
        """An array, by its key, '' for the single one; lists of several lengths are padded.

        text: whether it is text where the file does not say it.
        """


OPENERS: dict[str, Callable[[Path], ArrayFile]] = {
    ".npy": NpyFile,
    ".pt": TorchFile,
    ".pth": TorchFile,
    ".parquet": ParquetFile,
    ".csv": CsvTable,
    ".jsonl": JsonLines,
}


class Files:
    """The files of a folder that are in use.

    folder: the folder. where: what names the files, for messages.
    """

    def __init__(self, folder: Path, where: str) -> None:
        self._folder, self._where = folder, where
        self._open: dict[str, ArrayFile] = {}

    @property
    def names(self) -> list[str]:
        """The files that were opened, named from the folder."""
        return [name_in(self._folder, self._folder / name) for name in self._open]

    def memory(self, sources: Iterable[Source]) -> int:
        """The bytes of memory that the arrays take at least."""
        return sum(self._file(source).memory(source.key) for source in sources)

    def read(self, source: Source, text: bool = False) -> Array | Padded:
        """The array of a source. text: whether it is text where its file does not say what it is."""
        return self._file(source).read(source.key, text)

    def _file(self, source: Source) -> ArrayFile:
        """The open file of a source, which has its key."""
        if source.file not in self._open:
            self._open[source.file] = self._opened(source.file)
        file = self._open[source.file]
        if source.key and not file.keys:
            raise UserError(f"{self._where}: '{source}': the file holds one array. Name the file alone.")
        if not source.key and file.keys:
            raise UserError(
                f"{self._where}: '{source}': the file has several arrays: {', '.join(file.keys)}. Name one: "
                f"{source.file}:{file.keys[0]}."
            )
        if source.key and source.key not in file.keys:
            raise UserError(f"{self._where}: {unknown(f'key or column of {source.file}', source.key, file.keys)}")
        return file

    def _opened(self, name: str) -> ArrayFile:
        path = inside(self._folder, name, self._where)
        opener = OPENERS.get(path.suffix.lower())
        if opener is None:
            raise UserError(f"{self._where}: '{name}' is not read. Files may end in {', '.join(OPENERS)}.")
        try:
            with path.open("rb") as file:
                head = file.read(64)
            if not head:
                raise UserError(f"'{path}' is empty. Copy it again.")
            if is_pointer(path):
                raise pointer_error(path)
            if said := wrapping(head):
                raise UserError(f"'{path}': {said}")
            return opener(path)
        except OSError as error:
            raise UserError(f"'{path}' cannot be read ({error.strerror}). Make it readable.") from error
