"""Where the artifacts of a local record lie: a record that was moved or copied finds and keeps them in its own home.

MLflow stores absolute addresses, and keeps those that it has seen for as long as the program runs. They are put right
when a record is opened; and as another command may see the same folder under another path (a container), files are
written and read where they belong whatever the database says.
"""

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcr_bench.bench.errors import UserError

ARTIFACTS = "artifacts"  # HOME/artifacts/DATASET/RUN/artifacts/FILE
TABLES = {"experiments", "runs"}
ADDRESSES = (
    ("experiments", "experiment_id", "artifact_location", rf"/{ARTIFACTS}/([^/]+)/?$"),
    ("runs", "run_uuid", "artifact_uri", rf"/{ARTIFACTS}/([^/]+/[^/]+/{ARTIFACTS})/?$"),
)
PATTERNS = [re.compile(pattern) for *_, pattern in ADDRESSES]


def local_path(address: str) -> Path | None:
    """The path behind an address on this machine; None for one that lies elsewhere (a bucket, a server)."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(address) if address.startswith("/") else None


def require_file(file: Path | None) -> None:
    """UserError where the database is gone: SQLite would make an empty one at the old place. None: not a file."""
    if file is not None and not file.exists():
        raise UserError(
            f"the record at '{file}' is gone: it was moved or deleted while this command wrote to it. Give the same "
            "command again, with MCR_BENCH_HOME at its new place: what is finished there is not trained again."
        )


@dataclass(frozen=True)
class Places:
    """The artifacts of the record whose folder is `home` and whose database is in the folder `database`.

    Both are absolute paths without links. Where they are one, the two move together, and every address leads into the
    home. The addresses of a database kept apart stay as they are while the folder that they name exists; after that
    they lead to what lies beside the database, or else into the home.
    """

    home: Path
    database: Path

    def here(self, address: str) -> Path | None:
        """Where that folder of a run or a dataset is now; None for one that is not of this record or did not move."""
        path = local_path(address)
        match = path and next(filter(None, (pattern.search(path.as_posix()) for pattern in PATTERNS)), None)
        if path is None or not match:
            return None
        if self.home == self.database:
            return self.home / ARTIFACTS / match[1]
        if os.path.exists(path.as_posix()[: match.start()] + f"/{ARTIFACTS}"):
            return None
        beside = self.database / ARTIFACTS / match[1]
        return beside if beside.is_dir() else self.home / ARTIFACTS / match[1]

    def readable(self, address: str) -> str:
        """The address to read from: where the folder is now if it is there, else as stored."""
        here = self.here(address)
        return here.as_uri() if here is not None and here.is_dir() else address

    def settle(self, file: Path) -> None:
        """Make the addresses in the database lead to where things are now, all of them or none.

        A run's files that are at the old place alone stay readable there. Two commands at once do the same.
        """
        with closing(_connection(file)) as connection:
            self._write(connection, self._moved(connection))

    def settled(self, file: Path, run_id: str) -> Path | None:
        """Where what is written for a run from now on belongs, which the database then says too; None: not here."""
        with closing(_connection(file)) as connection:
            (stored,) = connection.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", [run_id]).fetchone()
            here = self.here(stored)
            if here is None:
                return local_path(stored)
            if here.as_uri() != stored:
                self._write(connection, [("runs", "run_uuid", "artifact_uri", here.as_uri(), run_id, stored)])
            return here

    def _moved(self, connection: sqlite3.Connection) -> list[tuple[str, str, str, str, str, str]]:
        """Table, names of its id and address, the new address, the id and the old address."""
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables >= TABLES:
            return []
        moved, root = [], (self.home / ARTIFACTS).as_uri() + "/"
        for table, key, column, _ in ADDRESSES:
            query = f"SELECT {key}, {column} FROM {table} WHERE substr({column}, 1, ?) <> ?"
            for number, address in connection.execute(query, [len(root), root]):
                here = self.here(address)
                if here is not None and not (table == "runs" and _only_there(address, here)):
                    moved.append((table, key, column, here.as_uri(), number, address))
        return moved

    def _write(self, connection: sqlite3.Connection, moved: Iterable[tuple[str, str, str, str, str, str]]) -> None:
        """What another command has put right meanwhile stays."""
        changes = list(moved)
        if not changes:
            return
        connection.execute("BEGIN IMMEDIATE")
        for table, key, column, *values in changes:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ? AND {column} = ?", values)
        connection.execute("COMMIT")


def _only_there(address: str, here: Path) -> bool:
    there = local_path(address)  # perhaps in a folder of somebody else's, which os.path takes for none
    return there is not None and os.path.isdir(there) and not here.is_dir()


def _connection(file: Path) -> sqlite3.Connection:
    """Transactions are opened by hand."""
    return sqlite3.connect(file, timeout=30, isolation_level=None)
