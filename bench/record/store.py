"""Open the store of a record: an MLflow client for any tracking URI, or a database file that a kill cannot damage."""

import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mcr_bench.bench.core.files import move_whole
from mcr_bench.bench.core.home import usable_database
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.addresses import ESCAPED, PLAIN, TRACKING, Use, required_address
from mcr_bench.bench.record.database.snapshot import BUSY
from mcr_bench.bench.record.runs import LAST, MOMENT, PREFIX, Latest, StoredRun, turn_of

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.store.entities import PagedList
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
ALL = 3  # runs in all of MLflow's states, those that were deleted too: `ViewType.ALL`
PAGE = 250  # so few that a server has a page in seconds


def database_uri(file: Path) -> str:
    """The address of an SQLite file as SQLAlchemy writes it, which is imported only for names that need escapes.

    UserError for a name that it can write in no address.
    """
    if "%" not in str(file) and "?" not in str(file):
        return f"{PLAIN}{file}"
    from sqlalchemy import URL

    uri = URL.create(ESCAPED.partition(":")[0], database=str(file)).render_as_string()
    if database_file(uri) != file:
        raise UserError(
            f"'{file}': the installed SQLAlchemy can open no file with ? in its path. Install 2.1 or newer, or set "
            "MCR_BENCH_HOME to a folder without ? in its path."
        )
    return uri


def database_file(uri: str) -> Path | None:
    """The SQLite file that a tracking URI names; None for other stores."""
    if not uri.startswith((PLAIN, ESCAPED)):
        return None
    if "%" not in uri and "?" not in uri:
        return Path(uri.partition(":///")[2])
    from sqlalchemy import make_url

    return Path(make_url(uri).database or "")


def store_uri(given: str | None, folder: Path, use: Use = TRACKING) -> str:
    """The address of a store as it is given, or that of the file `mlflow.db` in `folder`.

    UserError, before anything is written, where it can be none or its file could not be opened.
    """
    if not given:
        return database_uri(usable_database(folder / "mlflow.db"))
    uri = required_address(given, use)
    if uri.startswith(PLAIN) and ("%" in uri or "?" in uri):
        uri = uri.replace(PLAIN, ESCAPED, 1)
    if (file := database_file(uri)) is not None and usable_database(file).is_dir():
        raise use.wrong(given, f"names a folder. {use.allowed}")
    return uri


def open_client(uri: str) -> "MlflowClient":
    """An MlflowClient that has reached its store; otherwise MLflow's exceptions."""
    client = import_client()(uri)
    client.search_experiments(max_results=1)
    return client


def import_client() -> "type[MlflowClient]":
    """The class of MLflow's client, whose import takes seconds."""
    with _quiet():
        from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient


def experiment_of(client: "MlflowClient", dataset: str, artifacts: Path | None) -> str:
    """The id of the experiment of a dataset's runs, made if it is missing, and brought back if it was deleted.

    artifacts: the folder for its files; None where the store has a place of its own.
    """
    experiment = restored(client, dataset)
    if experiment is None:
        folder = artifacts / re.sub(r"[^\w.-]+", "-", dataset) if artifacts else None
        return str(client.create_experiment(PREFIX + dataset, folder.as_uri() if folder else None))
    return str(experiment.experiment_id)


def restored(client: "MlflowClient", dataset: str) -> "Experiment | None":
    """The experiment of a dataset's runs, no longer deleted; None where there is none."""
    experiment = client.get_experiment_by_name(PREFIX + dataset)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment


def prepare_file(file: Path, artifacts: Path) -> None:
    """Make MLflow's database if `file` is missing; sqlite3.Error if it is not a database."""
    if not file.exists():
        _create(file, artifacts)
    with closing(sqlite3.connect(file, timeout=BUSY)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # other commands can read while one writes


@dataclass(frozen=True)
class SearchReader:
    """A reader of runs of any store, which calls MLflow's own search.

    client: gives the MLflow client.
    state: which runs are read, in MLflow's words: `ViewType.ACTIVE_ONLY`, or those that were deleted.
    """

    client: "Callable[[], MlflowClient]"
    state: int = 1

    def read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        asked = [] if keys is None else list(keys)
        # MLflow's filters know no escapes, which a name that is not a key may need, as of a folder among checkpoints.
        text = f"tags.key = '{asked[0]}'" if len(asked) == 1 and asked[0].isalnum() else ""
        runs = self._search(self._experiments(dataset), text)
        return [run for run in runs if keys is None or run.tags.get("key") in keys]

    def latest(self, dataset: str, key: str) -> Latest:
        client, experiments = self.client(), self._experiments(dataset)
        asked = {f"tags.{MOMENT}": f"tags.{MOMENT} LIKE '00%'", "attributes.start_time": f"start_time <= {LAST}"}
        parts = asked if experiments else {}
        first = [client.search_runs(experiments, parts[by], ALL, 1, [f"{by} DESC"]) for by in parts]
        runs = [StoredRun.of(run) for page in first for run in page]
        moment = max((run.order[1] for run in runs), default=0)
        of_key = replace(self, state=ALL)._search(experiments, f"tags.key = '{key}'")
        return Latest(moment, max((turn_of(run.tags) for run in of_key), default=0))

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metric of a run -> its (step, value) in the order of steps; of several values of a step the last one."""
        client = self.client()
        curves = {key: client.get_metric_history(run_id, key) for key in client.get_run(run_id).data.metrics}
        ordered = {key: sorted(curve, key=lambda m: (m.step, m.timestamp)) for key, curve in curves.items()}
        return {key: list({m.step: m.value for m in curve}.items()) for key, curve in ordered.items()}

    def _experiments(self, dataset: str | None) -> list[str]:
        client, mine = self.client(), f"name LIKE '{PREFIX}%'"
        experiments = _pages(
            lambda token: client.search_experiments(max_results=PAGE, filter_string=mine, page_token=token)
        )
        return [e.experiment_id for e in experiments if dataset is None or e.name == PREFIX + dataset]

    def _search(self, experiments: list[str], text: str) -> list[StoredRun]:
        client = self.client()
        if not experiments:
            return []
        state, most = self.state, PAGE
        runs = _pages(lambda token: client.search_runs(experiments, text, state, most, page_token=token))
        return [StoredRun.of(run) for run in runs]


def _pages(search: "Callable[[str | None], PagedList[T]]") -> list[T]:
    """All results of a search, which `search` gives page by page for the token of a page."""
    items: list[T] = []
    token: str | None = None
    while True:
        page = search(token)
        items += page
        token = page.token
        if not token:
            return items


def _create(path: Path, artifacts: Path) -> None:
    """Make the database under another name first, so that a killed command does not leave a damaged record."""
    with _quiet():
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    for leftover in path.parent.glob(f"{new.name}*"):
        leftover.unlink()
    SqlAlchemyStore(database_uri(new), artifacts.as_uri()).engine.dispose()  # type: ignore[no-untyped-call]
    move_whole(new, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Switch off what MLflow prints and sends; import MLflow inside of the block.

    In a notebook it imports a bar of progress, which warns where ipywidgets is missing; nothing here shows that bar.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # with the user and password in it
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs the errors that it raises
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield
