"""Points of curves that are written without MLflow are the rows that it writes, or MLflow is asked to write them."""

import math
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mcr_bench.bench.record.database.points import add_points
from mcr_bench.bench.record.store import import_client, prepare_file

COLUMNS = "key, value, is_nan, timestamp, step"


class Store:
    """A database of MLflow's, and its client."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mlflow.db"
        prepare_file(self.file, folder / "artifacts")
        self.client: MlflowClient = import_client()(f"sqlite:///{self.file}")
        self.experiment = self.client.create_experiment("points")

    def run(self) -> str:
        return str(self.client.create_run(self.experiment).info.run_id)

    def rows(self, run_id: str, table: str = "metrics") -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.file)) as connection:
            return sorted(connection.execute(f"SELECT {COLUMNS} FROM {table} WHERE run_uuid = ?", [run_id]).fetchall())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("points"))


@pytest.fixture
def unknown_version(store: Store) -> Iterator[None]:
    def write(version: str) -> None:
        with closing(sqlite3.connect(store.file)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [version])

    with closing(sqlite3.connect(store.file)) as connection:
        (known,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    write("0123456789ab")
    yield
    write(known)


def drawn(seed: int) -> list[list[Metric]]:
    """Batches of points: some not finite, some twice, some of earlier steps, several of one step and of one moment."""
    draw = random.Random(seed)
    values = [0.0, -0.0, 0.1, -2.5, 1e-300, 1e308, math.nan, math.inf, -math.inf]
    points = [
        Metric(f"m/{draw.randrange(5)}", draw.choice(values), 1_700_000_000_000 + draw.randrange(3), draw.randrange(4))
        for _ in range(120)
    ]
    return [points[:50], points[50:60], points[60:], points[:3]]


@pytest.mark.parametrize("seed", range(8))
def test_the_rows_are_those_of_mlflow(store: Store, seed: int) -> None:
    mine, its = store.run(), store.run()
    for batch in drawn(seed):
        assert add_points(store.file, mine, batch)
        store.client.log_batch(its, metrics=batch)
        for table in ("metrics", "latest_metrics"):
            assert store.rows(mine, table) == store.rows(its, table)
    assert len(store.rows(mine, "latest_metrics")) == 5
    read = {key: store.client.get_metric_history(mine, key) for key in store.client.get_run(mine).data.metrics}
    for key, curve in read.items():
        assert repr(curve) == repr(store.client.get_metric_history(its, key))


def test_mlflow_adds_to_what_was_written_here(store: Store) -> None:
    run_id = store.run()
    assert add_points(store.file, run_id, [Metric("loss", 0.5, 10, 1)])
    store.client.log_batch(run_id, metrics=[Metric("loss", 0.5, 10, 1), Metric("loss", 0.25, 11, 2)])
    assert add_points(store.file, run_id, [Metric("loss", 0.25, 11, 2), Metric("loss", 9.0, 5, 0)])
    curve = store.client.get_metric_history(run_id, "loss")
    assert sorted((p.step, p.value) for p in curve) == [(0, 9.0), (1, 0.5), (2, 0.25)]
    assert store.client.get_run(run_id).data.metrics == {"loss": 0.25}


def test_no_points_are_no_change(store: Store) -> None:
    run_id = store.run()
    assert add_points(store.file, run_id, [])
    assert store.rows(run_id) == []


def test_a_name_that_is_too_long_is_mlflows_to_refuse(store: Store) -> None:
    run_id, points = store.run(), [Metric("a", 1.0, 1, 1), Metric("m" * 251, 1.0, 1, 1)]
    assert not add_points(store.file, run_id, points)
    assert store.rows(run_id) == []
    with pytest.raises(MlflowException):
        store.client.log_batch(run_id, metrics=points)


def test_a_deleted_run_is_mlflows_to_refuse(store: Store) -> None:
    run_id = store.run()
    store.client.delete_run(run_id)
    assert not add_points(store.file, run_id, [Metric("a", 1.0, 1, 1)])
    assert not add_points(store.file, "0" * 32, [Metric("a", 1.0, 1, 1)])
    assert store.rows(run_id) == []


@pytest.mark.usefixtures("unknown_version")
def test_a_database_of_an_unknown_version_is_mlflows_to_write(store: Store) -> None:
    run_id = store.run()
    assert not add_points(store.file, run_id, [Metric("a", 1.0, 1, 1)])
    assert store.rows(run_id) == []


def test_all_points_are_added_or_none(store: Store) -> None:
    run_id = store.run()
    with closing(sqlite3.connect(store.file)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON latest_metrics WHEN new.key = 'b' "
            "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(sqlite3.DatabaseError, match="full"):
        add_points(store.file, run_id, [Metric("a", 1.0, 1, 1), Metric("b", 1.0, 1, 1)])
    with closing(sqlite3.connect(store.file)) as connection, connection:
        connection.execute("DROP TRIGGER full")
    assert store.rows(run_id) == []
    assert add_points(store.file, run_id, [Metric("a", 1.0, 1, 1), Metric("b", 1.0, 1, 1)])
    assert len(store.rows(run_id)) == 2
