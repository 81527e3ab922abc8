"""A cache that is being prepared: arrays that are written row by row, and a journal of the rows that are complete."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.datasets.cache.opened import Cache, content_of
from mcr_bench.datasets.cache.recipe import Field, Recipe

JOURNAL = "journal.jsonl"
Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Entry:
    """A row that was written for one clip.

    slot: its place in the arrays.
    source: a hash of everything from which it was decoded.
    content: a hash of the row.
    lengths: padded field -> the number of real steps.
    findings: what looks wrong about the clip.
    """

    slot: int
    source: str
    content: str
    lengths: Mapping[str, int]
    findings: tuple[str, ...] = ()


class Store:
    """The arrays in a folder, read and written by rows.

    Rows are written to files and not through mapped memory, because a full disk is then an error and does not end the
    process.
    """

    def __init__(self, folder: Path, fields: Fields, slots: int, writable: bool) -> None:
        """slots: the number of rows. ValueError or OSError if an array is missing or has another shape or dtype."""
        self.slots = slots
        self._rows = {name: int(np.dtype(f.dtype).itemsize * np.prod(f.shape, dtype=int)) for name, f in fields.items()}
        self._files: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        for name, wanted in fields.items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
            if array.shape != (slots, *wanted.shape) or array.dtype != np.dtype(wanted.dtype):
                raise ValueError(f"'{folder / name}.npy' has another shape or dtype")
            self._heads[name] = int(array.offset)
        for name in fields:
            self._files[name] = os.open(folder / f"{name}.npy", os.O_RDWR if writable else os.O_RDONLY)

    def read(self, slot: int) -> dict[str, bytes]:
        """Field -> the bytes of a row."""
        return {name: os.pread(file, self._rows[name], self._at(name, slot)) for name, file in self._files.items()}

    def write(self, slot: int, rows: Mapping[str, bytes]) -> None:
        """Write the row of every field. rows: field -> the bytes of the row."""
        for name, file in self._files.items():
            rest, at = memoryview(rows[name]), self._at(name, slot)
            while rest:
                written = os.pwrite(file, rest, at)
                rest, at = rest[written:], at + written

    def blank(self, slot: int) -> None:
        """Fill a row of every field with zeros."""
        if any(any(row) for row in self.read(slot).values()):
            self.write(slot, {name: bytes(size) for name, size in self._rows.items()})

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        for file in self._files.values():
            os.fsync(file)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _at(self, name: str, slot: int) -> int:
        return self._heads[name] + slot * self._rows[name]


class Donor:
    """Complete rows that were decoded earlier."""

    def __init__(self, store: Store, entries: Mapping[str, Entry], libraries: Iterable[str]) -> None:
        """entries: clip id -> its row in the store. libraries: the versions of the libraries that decoded the rows."""
        self.store, self.entries, self.libraries = store, entries, set(libraries)

    def rows(self, entry: Entry) -> dict[str, bytes] | None:
        """Field -> the bytes of the row of an entry; None if they differ from what was written."""
        rows = self.store.read(entry.slot)
        return rows if content_of(rows, entry.lengths) == entry.content else None


class Draft(Donor):
    """The folder in which a cache is prepared. It is resumed if it was begun for the same clips."""

    def __init__(self, folder: Path, recipe: Recipe, ids: Sequence[str]) -> None:
        """ids: the clips by slot. ValueError if the folder was begun for others, or another recipe."""
        header = header_of(recipe, ids)
        if not (folder / JOURNAL).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # its arrays may be links to the arrays of the finished cache
            allocate(folder, recipe.fields, len(ids))
            (folder / JOURNAL).write_text(f"{json.dumps(header)}\n", encoding="utf-8")
        stated, entries, libraries = read_journal(folder)
        if stated != header:
            raise ValueError(f"'{folder}' was begun for other clips")
        super().__init__(Store(folder, recipe.fields, len(ids), writable=True), dict(entries), libraries)
        self._journal = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND)
        os.write(self._journal, b"\n")  # ends a line that a kill cut off

    def put(self, clip: str, entry: Entry, rows: Mapping[str, bytes]) -> None:
        """Write the rows of a clip, then the line in the journal that states that they are complete."""
        self.store.write(entry.slot, rows)
        self._write([clip, entry.slot, entry.source, entry.content, dict(entry.lengths), list(entry.findings)])

    def note(self, libraries: str) -> None:
        """Write to the journal with which versions of libraries the following rows were decoded."""
        if libraries not in self.libraries:
            self.libraries.add(libraries)
            self._write([libraries])

    def _write(self, line: list[object]) -> None:
        os.write(self._journal, f"{json.dumps(line)}\n".encode())

    def close(self) -> None:
        """Close the arrays and the journal."""
        self.store.close()
        os.close(self._journal)


def left_behind(folder: Path, recipe: Recipe) -> Donor | None:
    """The rows in a folder that was begun for other clips; None if it cannot be used."""
    try:
        header, entries, libraries = read_journal(folder)
        if header[:-1] != header_of(recipe, [])[:-1] or not isinstance(header[-1], list):
            return None
        return Donor(Store(folder, recipe.fields, int(header[-1][0]), writable=False), entries, libraries)
    except (OSError, EOFError, ValueError, TypeError, IndexError):
        return None


def finished(cache: Cache, recipe: Recipe) -> Donor | None:
    """The rows of a finished cache; None if its arrays have other shapes or dtypes."""
    try:
        store = Store(cache.folder, recipe.fields, int(cache.manifest["clips"]["found"]), writable=False)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    entries, findings = {}, cache.findings
    for at, clip in enumerate(cache.index.ids):
        lengths = {name: int(steps[at]) for name, steps in cache.steps.items()}
        slot, content = int(cache.rows[at]), cache.index.contents[at]
        entries[clip] = Entry(slot, cache.sources[at], content, lengths, findings.get(clip, ()))
    return Donor(store, entries, cache.manifest.get("libraries", ()))


def header_of(recipe: Recipe, ids: Sequence[str]) -> list[object]:
    """The first line of a journal: the recipe and the clips for which the folder is begun."""
    clips = hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()
    return [recipe.name, recipe.digest, [len(ids), clips]]


def read_journal(folder: Path) -> tuple[list[object], dict[str, Entry], set[str]]:
    """The header, clip id -> its last entry, and the versions of libraries. Incomplete lines are ignored.

    ValueError if the journal has no header.
    """
    entries: dict[str, Entry] = {}
    libraries: set[str] = set()
    with (folder / JOURNAL).open(encoding="utf-8", errors="replace") as lines:
        header = json_of(next(lines, "null"))
        for line in lines:
            match _parsed(line):
                case [str(text)]:
                    libraries.add(text)
                case [str(clip), int(slot), str(source), str(content), dict(lengths), list(findings)]:
                    entries[clip] = Entry(slot, source, content, lengths, tuple(findings))
    if not isinstance(header, list):
        raise ValueError(f"'{folder / JOURNAL}' has no header")
    return header, entries, libraries


def _parsed(line: str) -> object:
    """The JSON value of a line; None if it is not complete."""
    try:
        return json_of(line)
    except ValueError:
        return None


def allocate(folder: Path, fields: Fields, slots: int) -> None:
    """Empty arrays with room for `slots` clips, one file per field; space is reserved and not written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in fields.items():
        with (folder / f"{name}.npy").open("wb") as file:
            header = {"descr": np.dtype(wanted.dtype).str, "fortran_order": False, "shape": (slots, *wanted.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + slots * int(np.dtype(wanted.dtype).itemsize * np.prod(wanted.shape, dtype=int)))
