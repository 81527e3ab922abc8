"""Reads the runs of a local record straight from MLflow's SQLite tables: its own search takes minutes for thousands.

Read-only, and in one snapshot. The answer equals that of MLflow's search, which a test holds it to. A database of a
version that is not known here is not read: an MLflow to come may keep runs in other ways.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TypeVar

from mcr_bench.bench.record.database.access import is_there
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.database.snapshot import is_busy, locked, read_database
from mcr_bench.bench.record.database.versions import UnknownVersion, require_known
from mcr_bench.bench.record.files.artifacts import Stored
from mcr_bench.bench.record.files.checksums import PREFIX as PREFIX_OF_CHECKSUMS
from mcr_bench.bench.record.files.checksums import checksums_in
from mcr_bench.bench.record.runs import DIGITS, LAST, MARKS, MOMENT, PREFIX, TURN, Latest, StoredRun, turn_of

T = TypeVar("T")
RUNS = """
SELECT run_uuid, coalesce(CAST(status AS TEXT), ''), start_time, end_time, coalesce(CAST(artifact_uri AS TEXT), '')
FROM runs JOIN experiments USING (experiment_id)
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' AND typeof(run_uuid) = 'text'
"""
OF_ALL_DATASETS, OF_DATASET = " AND substr(experiments.name, 1, ?) = ?", " AND experiments.name = ?"
OF_KEYS = " AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'key' AND value IN (SELECT value FROM json_each(?)))"
OF_RUNS, NAMED = "run_uuid IN (SELECT value FROM json_each(?))", "key IN (SELECT value FROM json_each(?))"
# One row for each run: fetching a million rows, one for each tag, takes longer. By hand, any type can be written into a
# column.
TEXTS = """
SELECT run_uuid, json_group_array(coalesce(CAST(key AS TEXT), '')), json_group_array(coalesce(CAST(value AS TEXT), ''))
FROM {table} {where} GROUP BY run_uuid
"""
COUNTS = "SELECT run_uuid, count(*) FROM latest_metrics {where} GROUP BY run_uuid ORDER BY run_uuid"
# NULL for nan, and a text for what is not a number.
NUMBER = "CASE is_nan WHEN 1 THEN NULL WHEN 0 THEN coalesce(value, 'NULL') ELSE 'neither a number nor nan' END"
NUMBERS = f"SELECT CAST(key AS TEXT), {NUMBER} FROM latest_metrics {{where}} ORDER BY run_uuid, rowid"
LATEST = """
SELECT max(coalesce(max(CASE WHEN typeof(start_time) = 'integer' AND start_time <= :last THEN start_time END), 0),
coalesce(max(CASE WHEN length(value) = :digits AND value NOT GLOB '*[^0-9]*' AND CAST(value AS INTEGER) <= :last
THEN CAST(value AS INTEGER) END), 0)) FROM runs JOIN experiments USING (experiment_id)
LEFT JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = :tag WHERE experiments.name = :name
"""
TURNS = """
SELECT coalesce(CAST(value AS TEXT), '') FROM tags WHERE key = ? AND run_uuid IN (SELECT run_uuid FROM tags WHERE
key = 'key' AND value = ?)
"""
# Experiments with runs of this program, none of which is of the dataset that the name says.
RENAMED = """
SELECT CAST(experiments.name AS TEXT), min(CAST(about.value AS TEXT)) FROM tags AS mark JOIN runs USING (run_uuid)
JOIN experiments USING (experiment_id) JOIN tags AS about ON about.run_uuid = mark.run_uuid AND about.key = 'dataset'
WHERE mark.key = ? AND about.value <> '' AND runs.lifecycle_stage = 'active'
AND experiments.lifecycle_stage = 'active' GROUP BY experiment_id HAVING NOT max(experiments.name = ? || about.value)
"""
CURVES = f"""
SELECT CAST(key AS TEXT), step, {NUMBER} AS number FROM metrics
WHERE run_uuid = ? AND typeof(step) = 'integer' AND typeof(number) NOT IN ('text', 'blob') ORDER BY step, timestamp
"""
CHECKSUMS = "SELECT run_uuid, key, coalesce(CAST(value AS TEXT), '') FROM tags WHERE " + OF_RUNS + " AND key GLOB ?"
Found = tuple[str, str, int | None, int | None, str]
FEW = 0.2  # up to this share of all runs, looking each one up costs less than reading all


def ask(file: Path, patience: Patience, query: "Callable[[SqliteReader], T]") -> T:
    """What a query makes of the record in `file`.

    Errors: `UnknownVersion` where MLflow has to be asked, UserError where another program has locked the file for
    longer than `patience` allows, sqlite3.Error and OSError where it cannot be read.
    """
    try:
        return query(SqliteReader(file, patience))
    except sqlite3.OperationalError as error:
        if "no such table" in str(error) or "no such column" in str(error):
            raise UnknownVersion(str(error)) from error
        raise


@dataclass(frozen=True)
class SqliteReader:
    """Runs of MLflow's database in `file`, of which there are none before it is made.

    patience: how it waits where another program has locked the file.
    sqlite3.Error where it cannot be read, or is of a version not known here; UserError where it is locked for longer.
    """

    file: Path
    patience: Patience = field(default_factory=Patience)

    def read(
        self, dataset: str | None = None, keys: Collection[str] | None = None, tags: Collection[str] | None = None
    ) -> list[StoredRun]:
        """As `Reader` says. tags: with it, the runs have the tags of these names only, and no params and metrics."""
        return self.query(lambda connection: _read(connection, dataset, keys, tags), [])

    def latest(self, dataset: str, key: str) -> Latest:
        return self.query(lambda connection: _latest(connection, dataset, key), Latest(0, 0))

    def renamed(self) -> dict[str, str]:
        """Experiment whose name is not that of its runs' dataset -> the dataset."""
        return self.query(_renamed, {})

    def artifacts(self, run_ids: Iterable[str]) -> dict[str, Stored]:
        """Run id -> where its files are, whether it is finished, and their checksums; unknown runs are left out."""
        wanted = json.dumps(list(run_ids))
        return self.query(lambda connection: _files(connection, wanted), {})

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metric of a run -> its (step, value) in the order of steps; of several values of a step the last one.

        Values and steps that are not numbers are left out.
        """
        return self.query(lambda connection: _history(connection, run_id), {})

    def query(self, read: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """What `read` makes of one state of the database; `nothing` where there is none."""
        if not is_there(self.file):
            return nothing
        return self.patience.wait(lambda: read_database(self.file, read), is_busy, locked(self.file))


def _read(
    connection: sqlite3.Connection, dataset: str | None, keys: Collection[str] | None, tags: Collection[str] | None
) -> list[StoredRun]:
    require_known(connection)
    runs = {
        run_id: StoredRun(run_id, status, 0 if started is None else started, {}, {}, {}, ended, artifacts)
        for run_id, status, started, ended, artifacts in _runs(connection, dataset, keys)
    }
    (total,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    chosen = {OF_RUNS: json.dumps(list(runs))} if len(runs) < FEW * total else {}
    chosen |= {NAMED: json.dumps(list(tags))} if tags is not None else {}
    where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
    _add_texts(connection, "tags", where, list(chosen.values()), {run_id: run.tags for run_id, run in runs.items()})
    if tags is None:
        _add_texts(connection, "params", where, list(chosen.values()), {r: run.params for r, run in runs.items()})
        _add_metrics(connection, where, list(chosen.values()), {r: run.metrics for r, run in runs.items()})
    return list(runs.values())


def _add_texts(
    connection: sqlite3.Connection, table: str, where: str, chosen: list[str], runs: dict[str, dict[str, str]]
) -> None:
    """Add the rows of a table of texts to the dict of each run."""
    names = dict[str, list[str]]()  # one list for each set of names: thousands of runs have the same ones
    for run_id, keys, values in connection.execute(TEXTS.format(table=table, where=where), chosen):
        if run_id in runs:
            known = names.get(keys) or names.setdefault(keys, json.loads(keys))
            runs[run_id].update(zip(known, json.loads(values), strict=True))


def _add_metrics(
    connection: sqlite3.Connection, where: str, chosen: list[str], runs: dict[str, dict[str, float]]
) -> None:
    """Add the last value of each metric to the dict of its run."""
    counts = connection.execute(COUNTS.format(where=where), chosen).fetchall()
    numbers = connection.execute(NUMBERS.format(where=where), chosen)
    names = dict[str, str]()  # one object for each name
    for run_id, count in counts:
        values = {names.setdefault(k, k): nan if v is None else v for k, v in numbers.fetchmany(count)}
        if run_id in runs:
            runs[run_id].update(values)


def _latest(connection: sqlite3.Connection, dataset: str, key: str) -> Latest:
    require_known(connection)
    asked = {"name": PREFIX + dataset, "tag": MOMENT, "digits": DIGITS, "last": LAST}
    (moment,) = connection.execute(LATEST, asked).fetchone()
    turns = connection.execute(TURNS, [TURN, key])
    return Latest(int(moment), max((turn_of({TURN: text}) for (text,) in turns), default=0))


def _renamed(connection: sqlite3.Connection) -> dict[str, str]:
    require_known(connection)
    return dict(connection.execute(RENAMED, [MARKS[0], PREFIX]))


def _files(connection: sqlite3.Connection, wanted: str) -> dict[str, Stored]:
    require_known(connection)
    checksums: dict[str, dict[str, str]] = {}
    for run_id, key, value in connection.execute(CHECKSUMS, [wanted, PREFIX_OF_CHECKSUMS + "*"]):
        checksums.setdefault(run_id, {})[key] = value
    query = "SELECT run_uuid, coalesce(CAST(artifact_uri AS TEXT), ''), status = 'FINISHED' FROM runs WHERE " + OF_RUNS
    return {
        run_id: Stored(uri, bool(finished), checksums_in(checksums.get(run_id, {})))
        for run_id, uri, finished in connection.execute(query, [wanted])
    }


def _history(connection: sqlite3.Connection, run_id: str) -> dict[str, list[tuple[int, float]]]:
    require_known(connection)
    curves: dict[str, dict[int, float]] = {}
    for key, step, value in connection.execute(CURVES, [run_id]):
        curves.setdefault(key, {})[step] = nan if value is None else value
    return {key: list(curve.items()) for key, curve in curves.items()}


def _runs(connection: sqlite3.Connection, dataset: str | None, keys: Collection[str] | None) -> Iterable[Found]:
    """Run, status, start, end and address of the artifacts."""
    query = RUNS + (OF_ALL_DATASETS if dataset is None else OF_DATASET) + (OF_KEYS if keys is not None else "")
    values: list[int | str] = [len(PREFIX), PREFIX] if dataset is None else [PREFIX + dataset]
    return connection.execute(query, values + ([json.dumps(list(keys))] if keys is not None else []))
