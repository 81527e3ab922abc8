"""Disks without space: files that take so many bytes and no more, a database that cannot grow, a small tmpfs."""

import errno
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from mcr_bench.bench.record.tracking import Record


class _Full(BufferedIOBase):
    """A file that is open for writing and takes `room` bytes."""

    def __init__(self, file: Any, room: int, number: int) -> None:
        self._file, self._room, self._number = file, room, number

    def write(self, content: Any) -> int:
        with memoryview(content) as view:
            self._file.write(view[: self._room])
            self._room -= view.nbytes
            if self._room < 0:
                raise OSError(self._number, os.strerror(self._number))
            return view.nbytes

    def fileno(self) -> int:
        return int(self._file.fileno())

    def flush(self) -> None:
        self._file.flush()

    def seek(self, *place: int) -> int:
        return int(self._file.seek(*place))

    def tell(self) -> int:
        return int(self._file.tell())

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        self._file.close()


def fill(patch: pytest.MonkeyPatch, name: str, room: int = 0, number: int = errno.ENOSPC) -> None:
    """Files whose name contains `name` take no more than `room` bytes from now on."""
    opened: Callable[..., Any] = Path.open

    def open_full(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = opened(path, mode, *args, **kwargs)
        return _Full(file, room, number) if name in path.name and set(mode) & set("wax") else file

    patch.setattr(Path, "open", open_full)


@contextmanager
def no_page_more(record: Record) -> Iterator[None]:
    """Inside the block the database of a record cannot grow: SQLite says that the disk is full."""
    engine = record.client._tracking_client.store.engine

    def limit(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the present size

    def lift(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 4294967294")

    connect = sqlite3.connect

    def connect_limited(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        limit(connection)
        return connection

    event.listen(engine, "checkout", limit)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", connect_limited)
            yield
    finally:
        event.remove(engine, "checkout", limit)
        event.listen(engine, "checkout", lift)


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of this size in `folder`; gives a function that changes the size. Skips where mounting fails."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield lambda more: _run("mount", "-o", f"remount,size={more}", str(folder))
    finally:
        _run("umount", "-l", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
