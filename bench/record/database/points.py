"""Writes the points of curves straight into MLflow's SQLite tables.

MLflow's own `log_batch` takes 90 µs for a point, ten times as long: several percent of the run of a small network,
which trains dozens of epochs a second. The rows are those that it writes, which a test holds this to.
"""

import math
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcr_bench.bench.record.database.snapshot import BUSY
from mcr_bench.bench.record.database.versions import UnknownVersion, require_known

if TYPE_CHECKING:
    from mlflow.entities import Metric

LARGEST = 1.7976931348623157e308  # as which MLflow stores an infinity
LONGEST = 250  # characters of a name; MLflow says what is wrong with a longer one
OPEN = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
POINT = """
INSERT INTO metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
LATEST = """
INSERT INTO latest_metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (run_uuid, key) DO UPDATE
SET value = excluded.value, is_nan = excluded.is_nan, timestamp = excluded.timestamp, step = excluded.step
WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)
"""


class Row(NamedTuple):
    """A row of both tables, as MLflow names its columns."""

    run_uuid: str
    key: str
    value: float
    is_nan: bool
    timestamp: int
    step: int


def add_points(file: Path, run_id: str, points: "Sequence[Metric]") -> bool:
    """Add points to the curves of a run, all of them or none; those that it has already change nothing.

    points: as `entities.metric` makes them, with names that MLflow accepts.

    False, and nothing added, where only MLflow can do it, or say why not: the database is of a version not known here,
    the run was deleted, or a name is too long. sqlite3.Error where the database cannot be written.
    """
    if any(len(point.key) > LONGEST for point in points):
        return False
    rows = [Row(run_id, p.key, *_stored(p.value), p.timestamp, p.step) for p in points]
    with closing(sqlite3.connect(file, timeout=BUSY, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # closing without COMMIT rolls back
        try:
            require_known(connection)
        except (UnknownVersion, sqlite3.OperationalError):
            return False
        if connection.execute(OPEN, [run_id]).fetchone() is None:
            return False
        connection.executemany(POINT, rows)
        connection.executemany(LATEST, _last(rows))
        connection.execute("COMMIT")
    return True


def _last(rows: Sequence[Row]) -> Iterable[Row]:
    """Of each name the row that is the last by step, time and value, in the order in which the names first appear."""
    last: dict[str, Row] = {}
    for row in rows:
        known = last.setdefault(row.key, row)
        if (row.step, row.timestamp, row.value) > (known.step, known.timestamp, known.value):
            last[row.key] = row
    return last.values()


def _stored(value: float) -> tuple[float, bool]:
    """A value as MLflow stores it, and whether it is nan, which has a column of its own."""
    if math.isnan(value):
        return 0.0, True
    return (math.copysign(LARGEST, value) if math.isinf(value) else value), False
