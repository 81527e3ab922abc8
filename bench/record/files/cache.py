"""A cache of the scores per sample of finished runs, in one SQLite file, which may be deleted at any time."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zlib import crc32

TABLES = """
CREATE TABLE IF NOT EXISTS names (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    run_id TEXT PRIMARY KEY, digest TEXT NOT NULL, score BLOB NOT NULL, crc INTEGER NOT NULL
);
"""
READ = "SELECT run_id, digest, score, crc FROM scores WHERE run_id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True)
class Kept:
    """What the cache holds of a run.

    names: the JSON text of [ids, groups], which many runs share.
    score: the scores of N samples as little-endian float32.
    """

    names: str
    score: bytes


@dataclass(frozen=True)
class SamplesCache:
    """The cache in the file `file`. A damaged file is replaced; if it cannot be written, there is no cache."""

    file: Path

    def read(self, run_ids: Iterable[str]) -> dict[str, Kept]:
        """Run id -> its scores, for those of `run_ids` that are in the cache."""
        try:
            return self._read(json.dumps(list(run_ids)))
        except sqlite3.OperationalError:  # locked, or in a folder that may not be written to
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
        with self._open() as connection:
            names = {d: text for d, text in connection.execute("SELECT digest, text FROM names") if _digest(text) == d}
            rows = connection.execute(READ, [run_ids]).fetchall()
        return {run: Kept(names[d], score) for run, d, score, crc in rows if d in names and crc32(score) == crc}

    def _write(self, fresh: Mapping[str, Kept]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        digests = {text: _digest(text) for text in {kept.names for kept in fresh.values()}}
        scores = [(run_id, digests[kept.names], kept.score, crc32(kept.score)) for run_id, kept in fresh.items()]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO names VALUES (?, ?)", [(d, t) for t, d in digests.items()])
            connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", scores)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are one transaction."""
        with closing(sqlite3.connect(self.file, timeout=10)) as connection:
            connection.executescript(TABLES)
            with connection:
                yield connection

    def _discard(self) -> None:
        for path in (self.file, self.file.with_name(f"{self.file.name}-journal")):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
