"""Databases that the reader of MLflow's tables was not written for: MLflow is asked, or an error tells."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.database import versions as database_versions
from mcr_bench.bench.record.sqlite import SqliteReader
from mcr_bench.bench.record.store import SearchReader
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.tests.support.records.many_runs import record_run, specs

OLDEST = "6953534de441"  # of MLflow 3.1.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a record of three runs."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("predictions")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record = Record(home=home)
        for spec in asked():
            record_run(record, spec, folder)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with closing(sqlite3.connect(made / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(shutil.copytree(made, tmp_path / "home"))


def asked() -> list[RunSpec]:
    return list(specs(methods=3, datasets=1, seeds=1))


def changed(home: Path, *statements: str) -> Record:
    """The record after these statements on its database."""
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return Record(home=home)


def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What MLflow's own search is asked for, from now on."""
    calls: list[str] = []
    for name in ("read", "history"):
        whole = getattr(SearchReader, name)
        monkeypatch.setattr(SearchReader, name, lambda *args, n=name, w=whole: (calls.append(n), w(*args))[1])
    return calls


def version_of(home: Path) -> str:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)


def test_the_version_that_this_mlflow_makes_is_known(home: Path) -> None:
    """Where this fails, MLflow has changed its tables: look at its migrations, then add the version."""
    assert version_of(home) in database_versions.VERSIONS
    assert len(SqliteReader(home / "mlflow.db").read()) == 3


def test_a_version_that_is_not_known_is_left_to_mlflow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(home=home)
    rows, run_ids = record.rows(), [row.run_id for row in record.rows()]
    curves, samples = record.history(run_ids[0]), set(record.samples(run_ids))
    monkeypatch.setattr(database_versions, "VERSIONS", database_versions.VERSIONS - {version_of(home)})
    calls = searches(monkeypatch)
    again = Record(home=home)
    assert again.rows() == rows
    assert again.history(run_ids[0]) == curves
    assert set(again.samples(run_ids)) == samples == set(run_ids)
    assert calls == ["read", "history"]


@pytest.mark.parametrize("version", ["abcdef012345", ""])
def test_a_changed_number_is_told_by_mlflow_which_does_not_know_it_either(home: Path, version: str) -> None:
    record = changed(home, f"UPDATE alembic_version SET version_num = '{version}'")
    with pytest.raises(sqlite3.DatabaseError, match="known here"):
        SqliteReader(home / "mlflow.db").read()
    with pytest.raises(UserError, match=r"the record at '.*mlflow\.db' cannot be opened: .*schema") as caught:
        record.rows()
    assert str(caught.value).count("cannot be opened") == 1
    with pytest.raises(UserError, match="schema") as caught:
        record.history("run")
    assert str(caught.value).count("cannot be opened") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        f"INSERT INTO alembic_version VALUES ('{OLDEST}')",
    ],
)
def test_a_database_without_one_version_is_not_read_here(home: Path, statement: str) -> None:
    changed(home, statement)
    with pytest.raises(sqlite3.Error):
        SqliteReader(home / "mlflow.db").read()


def test_an_older_version_that_is_known_is_read_without_mlflow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = searches(monkeypatch)
    record = changed(home, f"UPDATE alembic_version SET version_num = '{OLDEST}'")
    assert {row.key for row in record.rows()} == {spec.key for spec in asked()}
    assert calls == []


@pytest.mark.parametrize(
    "changes",
    [
        ["ALTER TABLE params RENAME COLUMN value TO text"],
        ["DROP TABLE latest_metrics", "CREATE TABLE latest_metrics (run_uuid, key, value, timestamp, step)"],
        ["ALTER TABLE tags DROP COLUMN value"],
    ],
    ids=["renamed", "made anew", "dropped"],
)
def test_a_column_that_is_missing_is_an_error_that_names_the_record(home: Path, changes: list[str]) -> None:
    """MLflow's own search, which is asked then, needs it as well."""
    record = changed(home, *changes)
    with pytest.raises(UserError, match=r"the record at '.*mlflow\.db' cannot be opened: .*no such column"):
        record.rows()


def test_a_column_that_nothing_here_reads_may_be_missing(home: Path) -> None:
    record = changed(home, "ALTER TABLE latest_metrics DROP COLUMN step")
    assert len(record.rows()) == 3
