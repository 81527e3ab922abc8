"""Opens the store behind the record: an MLflow client for any tracking URI, a database file that no kill can break."""

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.record.runs import PREFIX, StoredRun

if TYPE_CHECKING:
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
PAGE = 1000
# MLflow tries a server that does not answer for minutes; to learn that there is none, seconds are enough.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


def database_uri(file: Path) -> str:
    """SQLAlchemy's address of an SQLite file; asked only where a name needs it, as importing it takes long."""
    if "%" not in str(file) and "?" not in str(file):
        return f"sqlite:///{file}"
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def database_file(uri: str) -> Path | None:
    """The SQLite file behind a tracking URI; None where there is none."""
    if not uri.startswith("sqlite:///"):
        return None
    if "%" not in uri and "?" not in uri:
        return Path(uri.removeprefix("sqlite:///"))
    from sqlalchemy import make_url

    return Path(make_url(uri).database or "")


def open_client(uri: str) -> "MlflowClient":
    """An MlflowClient that has reached its store; MLflow's exceptions where it cannot."""
    _quieten()
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with _impatient():
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def prepare_file(file: Path, artifacts: Path) -> None:
    """Make MLflow's database where there is none yet; sqlite3.Error where `file` is no database."""
    if not file.exists():
        _create(file, artifacts)
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # readers go on while one command writes


@dataclass(frozen=True)
class SearchReader:
    """Runs of any store, by MLflow's own search."""

    client: "Callable[[], MlflowClient]"

    def read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        text = f"tags.key = '{next(iter(keys))}'" if keys is not None and len(keys) == 1 else ""
        found = self._search(self._experiments(dataset), text)
        return [run for run in found if keys is None or run.tags.get("key") in keys]

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metric of one run -> its (step, value), by step; the last one logged where a step has several."""
        client = self.client()
        curves = {key: client.get_metric_history(run_id, key) for key in client.get_run(run_id).data.metrics}
        ordered = {key: sorted(curve, key=lambda m: (m.step, m.timestamp)) for key, curve in curves.items()}
        return {key: list({m.step: m.value for m in curve}.items()) for key, curve in ordered.items()}

    def _experiments(self, dataset: str | None) -> list[str]:
        client, mine = self.client(), f"name LIKE '{PREFIX}%'"
        found = _pages(lambda token: client.search_experiments(max_results=PAGE, filter_string=mine, page_token=token))
        return [e.experiment_id for e in found if dataset is None or e.name == PREFIX + dataset]

    def _search(self, experiments: list[str], text: str) -> list[StoredRun]:
        client = self.client()
        if not experiments:
            return []
        runs = _pages(lambda token: client.search_runs(experiments, text, max_results=PAGE, page_token=token))
        return [StoredRun.of(run) for run in runs]


def _pages(search: "Callable[[str | None], PagedList[T]]") -> list[T]:
    """Everything that a search gives. search: page token -> one page of it."""
    found: list[T] = []
    token: str | None = None
    while True:
        page = search(token)
        found += page
        token = page.token
        if not token:
            return found


def _create(path: Path, artifacts: Path) -> None:
    """Make the tables under another name first: a command killed meanwhile must not leave a broken record."""
    _quieten()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    for leftover in path.parent.glob(f"{new.name}*"):
        leftover.unlink()
    SqlAlchemyStore(database_uri(new), artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]
    new.rename(path)


def _quieten() -> None:
    """Before MLflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _impatient() -> Iterator[None]:
    """What the user has set himself stays."""
    added = {name: value for name, value in IMPATIENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
