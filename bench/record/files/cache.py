"""A cache of the scores per sample of finished runs, in one SQLite file, which may be deleted at any time."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

TABLES = """
DROP TABLE IF EXISTS scores;
CREATE TABLE IF NOT EXISTS names (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sealed (
    run_id TEXT PRIMARY KEY, digest TEXT NOT NULL, score BLOB NOT NULL, checksum TEXT NOT NULL, stamp TEXT NOT NULL,
    seal TEXT NOT NULL
);
"""
READ = "SELECT run_id, digest, score, checksum, stamp, seal FROM sealed WHERE run_id IN "
READ += "(SELECT value FROM json_each(?))"
LOCKED = 1.0  # seconds that a command waits for others: going without the cache is better than silence


@dataclass(frozen=True)
class Kept:
    """What the cache holds of a run.

    names: the JSON text of [ids, groups], which many runs share.
    score: the scores of N samples as little-endian float32.
    checksum: that of the file of which the scores were made.
    stamp: size and time of change of that file, "" where it is on another machine.
    """

    names: str
    score: bytes
    checksum: str
    stamp: str


@dataclass(frozen=True)
class SamplesCache:
    """The cache in the file `file`. A damaged file is replaced; if it cannot be written, there is no cache."""

    file: Path

    def read(self, run_ids: Iterable[str]) -> dict[str, Kept]:
        """Run id -> its scores, for those of `run_ids` that are in the cache. Nothing is written."""
        try:
            return self._read(json.dumps(list(run_ids)))
        except (OSError, sqlite3.OperationalError):  # locked, of an earlier version, or where this user may not read
            return {}
        except sqlite3.DatabaseError:
            self._discard()
            return {}

    def write(self, fresh: Mapping[str, Kept]) -> None:
        """Add these scores to the cache."""
        if fresh:
            with suppress(sqlite3.Error, OSError):
                self._write(fresh)

    def _read(self, run_ids: str) -> dict[str, Kept]:
        if not self.file.exists():
            return {}
        with closing(sqlite3.connect(f"file:{quote(str(self.file))}?mode=ro", uri=True, timeout=LOCKED)) as connection:
            names = {d: text for d, text in connection.execute("SELECT digest, text FROM names") if _digest(text) == d}
            rows = connection.execute(READ, [run_ids]).fetchall()
        return {
            run_id: Kept(names[digest], score, checksum, stamp)
            for run_id, digest, score, checksum, stamp, seal in rows
            if digest in names and seal == _seal(run_id, digest, score, checksum, stamp)
        }

    def _write(self, fresh: Mapping[str, Kept]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        digests = {text: _digest(text) for text in {kept.names for kept in fresh.values()}}
        rows = [(run, digests[kept.names], kept.score, kept.checksum, kept.stamp) for run, kept in fresh.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO names VALUES (?, ?)", [(d, t) for t, d in digests.items()])
            sealed = [(*row, _seal(*row)) for row in rows]
            connection.executemany("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?, ?, ?, ?)", sealed)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are one transaction."""
        with closing(sqlite3.connect(self.file, timeout=LOCKED)) as connection:
            connection.executescript(TABLES)
            with connection:
                yield connection

    def _discard(self) -> None:
        for path in (self.file, self.file.with_name(f"{self.file.name}-journal")):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _digest(text: object) -> str:
    return sha256(str(text).encode()).hexdigest()


def _seal(*row: object) -> str:
    """A digest of a row: what it holds may be of any type where the file is damaged."""
    return _digest(repr([sha256(value).hexdigest() if isinstance(value, bytes) else value for value in row]))
