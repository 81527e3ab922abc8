"""Read an SQLite file in one snapshot, and write nothing beside it.

SQLite itself writes when it reads a database with a write-ahead log: it makes the log and an index of it beside the
database, and fails where it may not. Here a database whose log is empty is read as a file that nobody changes, and once
more if somebody did. One with a log is read with SQLite's locks, and where these cannot be made, from a copy.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import quote

T = TypeVar("T")
Read = Callable[[sqlite3.Connection], T]
ENDINGS = ("-wal", "-journal")  # of files that hold changes which are not in the database file
TRIES = 5
BUSY = 0.25  # seconds that SQLite waits for a lock by itself: Ctrl-C has to wait as long
NO_PLACE = ("unable to open database file", "attempt to write a readonly database")


class Busy(sqlite3.OperationalError):
    """Another program has locked the database, or changes it all the time."""


class _NoPlace(sqlite3.OperationalError):
    """What SQLite needs beside the database cannot be made there."""


@dataclass(frozen=True)
class _State:
    """By what a change of the database is noticed, and whether changes lie beside its file.

    Taken without opening a file: closing one would end the locks that this process holds on it for a connection.
    """

    stamps: Mapping[str, tuple[int, int, int]]
    unfinished: bool


def read_database(file: Path, read: Read[T]) -> T:
    """What `read` makes of a connection that sees one state of the database.

    `Busy` while another program has locked it; other errors of sqlite3 where it cannot be read.
    """
    for _ in range(TRIES):
        before = _state(file)
        if before.unfinished:
            return _read_log(file, read)
        try:
            answer = _read(file, "mode=ro&immutable=1", read)
        except sqlite3.Error:
            if _state(file) == before:
                raise
        else:
            if _state(file) == before:
                return answer
    return _read_log(file, read)


def _read_log(file: Path, read: Read[T]) -> T:
    try:
        return _read(file, "mode=ro", read)
    except _NoPlace:
        return _read_copy(file, read)


def _read_copy(file: Path, read: Read[T]) -> T:
    """Read a copy of the database and of what lies beside it, all from one moment.

    Where no locks can be made, this process holds none that the copying could end.
    """
    with TemporaryDirectory() as folder:
        for _ in range(TRIES):
            before, copy = _state(file), Path(folder) / "copy.db"
            for ending in ("", *before.stamps):
                shutil.copyfile(f"{file}{ending}", f"{copy}{ending}")
            if _state(file) == before:
                return _read(copy, "mode=rw", read)
            time.sleep(BUSY)
    raise Busy("database is locked: it changes while it is copied")


def _read(file: Path, how: str, read: Read[T]) -> T:
    address = f"file:{quote(str(file))}?{how}"
    with closing(sqlite3.connect(address, uri=True, timeout=BUSY)) as connection:
        _begin(connection)
        try:
            return read(connection)
        except sqlite3.OperationalError as error:
            if not is_not_utf8(error):
                raise
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # takes longer
            return read(connection)


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to read one state of the database, and to write nothing."""
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise Busy(str(error)) from error
        if str(error) in NO_PLACE:
            raise _NoPlace(str(error)) from error
        raise


def is_busy(error: BaseException) -> bool:
    """Whether an error says that another program has locked the database."""
    return "database is locked" in str(error) or "database table is locked" in str(error)


def locked(place: object) -> str:
    """What a command waits for, in words. place: the file or address of the record."""
    return f"the record at '{place}' is locked by another program"


def is_not_utf8(error: BaseException) -> bool:
    """Whether an error says that a text in the database is not UTF-8, as only another program can have written it."""
    return "Could not decode to UTF-8" in str(error)


def _state(file: Path) -> _State:
    stamps = {ending: _stamp(Path(f"{file}{ending}")) for ending in ("", *ENDINGS)}
    there = {ending: stamp for ending, stamp in stamps.items() if stamp is not None}
    return _State(there, any(there.get(ending, (0, 0, 0))[0] for ending in ENDINGS))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino
