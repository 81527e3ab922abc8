"""Find the artifacts of a local record in its own home folder, also after the record was moved or copied.

MLflow stores absolute addresses, and remembers those that it has read while the program runs. They are corrected when
a record is opened. Another command may see the same folder under another path, as in a container; files are therefore
written to and read from the right folder even if the database has another address.
"""

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcr_bench.bench.record.database.snapshot import BUSY

ARTIFACTS = "artifacts"  # HOME/artifacts/DATASET/RUN/artifacts/FILE
SERVED = "mlflow-artifacts:"  # a file that a server keeps in `artifacts` beside its database, and hands out
TABLES = {"experiments", "runs"}
ADDRESSES = (
    ("experiments", "experiment_id", "artifact_location", rf"/{ARTIFACTS}/([^/]+)/?$"),
    ("runs", "run_uuid", "artifact_uri", rf"/{ARTIFACTS}/([^/]+/[^/]+/{ARTIFACTS})/?$"),
)
ADDRESS = "SELECT coalesce(CAST(artifact_uri AS TEXT), '') FROM runs WHERE run_uuid = ?"  # by hand, any type is written
PATTERNS = [re.compile(pattern) for *_, pattern in ADDRESSES]


def local_path(address: str) -> Path | None:
    """The path that an address means on this machine; None for an address elsewhere, such as a bucket or a server.

    >>> local_path("file:///data/results").as_posix(), local_path("s3://bucket/results")
    ('/data/results', None)
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(address) if address.startswith("/") else None


@dataclass(frozen=True)
class Places:
    """The places of a record's artifacts.

    If the database lies in the home folder, the two are moved together, and every address leads into the home. The
    addresses of a database in another folder stay as they are while the folder that they name exists; after that they
    lead to the folder of the database if the artifacts are there, and otherwise into the home.

    home: the record's folder, an absolute path without links.
    database: the folder of its database, an absolute path without links.
    """

    home: Path
    database: Path

    @cached_property
    def _root(self) -> str:
        return (self.home / ARTIFACTS).as_uri() + "/"

    def here(self, address: str) -> Path | None:
        """The present folder for the stored address of a run or dataset.

        None for an address that does not belong to this record, or whose folder has not moved.
        """
        path = local_path(address)
        match = path and next(filter(None, (pattern.search(path.as_posix()) for pattern in PATTERNS)), None)
        if path is None or not match:
            return None
        if self.home == self.database:
            return self.home / ARTIFACTS / match[1]
        if os.path.exists(path.as_posix()[: match.start()] + f"/{ARTIFACTS}"):
            return None
        beside = self.database / ARTIFACTS / match[1]
        return beside if os.path.isdir(beside) else self.home / ARTIFACTS / match[1]

    def holds(self, file: Path) -> bool:
        """Whether a file is where it stays with the record: in the home, if the database is there, or else anywhere."""
        return self.home != self.database or file.is_relative_to(self.home / ARTIFACTS)

    def readable(self, address: str) -> str:
        """The address to read from: the present folder, unless the files are at the stored address alone.

        Files of a server are read where `mcr-bench server` keeps them, if its folder is here.
        """
        if self.home == self.database and address.startswith(self._root):
            return address
        if address.startswith(SERVED):
            beside = self.database / ARTIFACTS / url2pathname(urlsplit(address).path).lstrip("/")
            return beside.as_uri() if ".." not in beside.parts and beside.is_dir() else address
        here = self.here(address)
        return address if here is None or _only_there(address, here) else here.as_uri()

    def settle(self, file: Path) -> None:
        """Correct the addresses in the database, all in one transaction.

        The files of a run that exist at the old place alone remain readable there. Two commands may do this at once.
        """
        with closing(_connection(file)) as connection:
            self._write(connection, self._moved(connection))

    def settled(self, file: Path, run_id: str) -> Path | None:
        """The folder for a run's new files, which the database then names too; None if it is not on this machine."""
        with closing(_connection(file)) as connection:
            (stored,) = connection.execute(ADDRESS, [run_id]).fetchone()
            here = self.here(stored)
            if here is None:
                return local_path(stored)
            if here.as_uri() != stored:
                self._write(connection, [("runs", "run_uuid", "artifact_uri", here.as_uri(), run_id, stored)])
            return here

    def _moved(self, connection: sqlite3.Connection) -> list[tuple[str, str, str, str, str, str]]:
        """For each address to correct: table, column of the id, column of the address, new address, id, old address."""
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= TABLES:
            return []
        moved, root = [], self._root
        for table, key, column, _ in ADDRESSES:
            query = (
                f"SELECT {key}, {column} FROM {table} WHERE typeof({column}) = 'text' AND substr({column}, 1, ?) <> ?"
            )
            for number, address in connection.execute(query, [len(root), root]):
                here = self.here(address)
                if here is not None and not (table == "runs" and _only_there(address, here)):
                    moved.append((table, key, column, here.as_uri(), number, address))
        return moved

    def _write(self, connection: sqlite3.Connection, moved: Iterable[tuple[str, str, str, str, str, str]]) -> None:
        """Write the new addresses, except where another command has corrected them meanwhile."""
        changes = list(moved)
        if not changes:
            return
        connection.execute("BEGIN IMMEDIATE")
        for table, key, column, *values in changes:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ? AND {column} = ?", values)
        connection.execute("COMMIT")


def _only_there(address: str, here: Path) -> bool:
    """Whether a run's files are at its stored address alone; a folder that this user may not enter counts as missing.

    `Path.is_dir` raises of such a folder what `os.path.isdir` does not.
    """
    there = local_path(address)
    return there is not None and os.path.isdir(there) and not os.path.isdir(here)


def _connection(file: Path) -> sqlite3.Connection:
    """A connection on which transactions are begun explicitly, and which reads any text."""
    connection = sqlite3.connect(file, timeout=BUSY, isolation_level=None)
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection
