"""A record of thousands of finished runs, made in a minute: some are trained, and the others are their copies."""

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from mcr_bench.bench.record.entities import name_of
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run

COPIED = ("metrics", "latest_metrics")  # tables whose rows are those of the run that was trained
DRAWN = "round(value + 0.02 * (abs(random()) % 1000) / 1000.0, 4)"  # no two runs of a record score the same


def fill(home: Path, runs: Sequence[RunSpec]) -> None:
    """Record all runs as finished: the first of each method after it was trained, the others as its copies.

    A copy has the tags and params of its own run, the metrics of the first one, those of the test part with noise, and
    a file of predictions that is the same one on the disk.
    """
    first: dict[str, RunSpec] = {}
    for run in runs:
        first.setdefault(run.method, run)
    record = Record(f"sqlite:///{home}/mlflow.db", home)
    trained = {method: _trained(record, run) for method, run in first.items()}
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        for run in runs:
            if run is not first[run.method]:
                _copy(database, trained[run.method], run)


def _trained(record: Record, run: RunSpec) -> str:
    """Train and record a run; returns its id."""
    run_id = record.start(run)
    if run_id is None:
        raise RuntimeError(f"the run {run.key} is on record")
    with TemporaryDirectory() as name:
        folder, events = Path(name), list[Event]()
        job = Job(run, "cpu", folder, {}, folder / "weights.pt")
        fit_run(job, events.append)
        for event in events:
            if isinstance(event, EpochDone):
                record.log_epoch(run, event)
            if isinstance(event, RunDone):
                record.finish(run, event.metrics, [job.predictions], event.tags)
    return run_id


def _copy(database: sqlite3.Connection, source: str, run: RunSpec) -> None:
    """Add a run to the database, and its file beside those of the source."""
    run_id, now = uuid4().hex, int(time.time() * 1000)
    (address,) = database.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", [source]).fetchone()
    own = address.replace(source, run_id)
    row = {"run_uuid": run_id, "start_time": now, "end_time": now, "artifact_uri": own}
    _rows(database, "runs", source, row)
    for table in COPIED:
        _rows(database, table, source, {"run_uuid": run_id})
        update = f"UPDATE {table} SET value = {DRAWN} WHERE run_uuid = ? AND key LIKE 'test/%' AND NOT is_nan"
        database.execute(update, [run_id])
    _rows(database, "tags", source, {"run_uuid": run_id})
    _put(database, "tags", run_id, run.tags())
    _put(database, "params", run_id, {name_of(name): text for name, text in run.params().items()})
    _link(Path(address.removeprefix("file://")), Path(own.removeprefix("file://")))


def _rows(database: sqlite3.Connection, table: str, source: str, new: Mapping[str, object]) -> None:
    """Copy the rows of a run, with new values in some columns."""
    columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join(f":{name}" if name in new else f'"{name}"' for name in columns)
    database.execute(
        f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE run_uuid = :source", {**new, "source": source}
    )


def _put(database: sqlite3.Connection, table: str, run_id: str, texts: Mapping[str, str]) -> None:
    rows = [(name, text, run_id) for name, text in texts.items()]
    database.executemany(f"INSERT OR REPLACE INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)", rows)


def _link(source: Path, own: Path) -> None:
    own.mkdir(parents=True)
    for path in source.iterdir():
        try:
            os.link(path, own / path.name)
        except OSError:  # a file system without links
            shutil.copy(path, own / path.name)
