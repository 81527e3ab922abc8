"""The record of every run: the only place that speaks to MLflow."""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.events import EpochDone

if TYPE_CHECKING:
    import pandas as pd

    from mcr_bench.bench.runs import RunSpec

T = TypeVar("T")
Row = dict[str, Any]
PREFIX = "mcr-bench/"
FLUSH_SECONDS = 10.0
BATCH = 1000  # most metrics that MLflow takes in one call; params and tags: 100


def default_home() -> Path:
    """Where the record and all generated files go: MCR_BENCH_HOME, or `results` in the working folder."""
    return Path(os.environ.get("MCR_BENCH_HOME") or "results")


@dataclass
class _Open:
    """A run being written: epochs up to `last` are logged or in the buffer."""

    run_id: str
    last: int
    buffer: list[EpochDone] = field(default_factory=list)


class Record:
    """One MLflow run per run, one experiment `mcr-bench/DATASET` per dataset.

    `uri` is a tracking URI; None = MLFLOW_TRACKING_URI, or the SQLite file `mlflow.db` in `home`. Artifacts of a local
    record go to `home/artifacts`. UserError where the store cannot be opened.
    """

    def __init__(self, uri: str | None = None, home: Path | None = None) -> None:
        self.home = (home or default_home()).resolve()
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the folder of the record, '{self.home}', cannot be made: {error}. "
                "Name another in MCR_BENCH_HOME, or work in a folder you may write to."
            ) from error
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow.db'}"
        self._file = Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None
        self._lock = FileLock(f"{self._file}.lock") if self._file else nullcontext()
        self._experiments: dict[str, str] = {}
        self._open: dict[str, _Open] = {}
        self._flushed = time.monotonic()
        self._client = self._connect()

    def start(self, spec: "RunSpec", again: bool = False) -> str | None:
        """Open the MLflow run of `spec` and give its id: the unfinished one of the same key if there is one.

        None where the key is finished already, unless `again`.
        """
        runs = self._search([self._experiment(spec.dataset)], f"tags.key = '{spec.key}'")
        if not again and any(run.info.status == "FINISHED" for run in runs):
            return None
        latest = max(runs, key=lambda run: run.info.start_time, default=None)
        reopened = latest is not None and latest.info.status != "FINISHED"
        run = self._reopen(latest) if reopened else self._create(spec)
        missing = {k: v for k, v in spec.params().items() if _name(k) not in run.data.params}
        for part in _parts(missing.items(), 100):
            self._write(self._client.log_batch, run.info.run_id, params=[_param(k, v) for k, v in part])
        self._open[spec.key] = _Open(run.info.run_id, int(run.data.metrics.get("epoch", 0)))
        return str(run.info.run_id)

    def log_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        """Take the metrics of an epoch, to be written in the next flush; an epoch already logged is left out."""
        run = self._open[spec.key]
        if event.epoch > run.last:
            run.buffer.append(event)
            run.last = event.epoch
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what is buffered if the last flush is some seconds ago."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for run in self._open.values():
                self._flush(run)
            self._flushed = time.monotonic()

    def finish(
        self,
        spec: "RunSpec",
        metrics: Mapping[str, float],
        artifacts: Iterable[Path] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log the final metrics, tags and artifacts; only when all is logged does the run count as finished."""
        run, now = self._open[spec.key], time.time()
        self._flush(run)
        self._log_metrics(run.run_id, [_metric(k, v, now, run.last) for k, v in metrics.items()])
        for part in _parts((tags or {}).items(), 100):
            self._write(self._client.log_batch, run.run_id, tags=[_tag(k, v) for k, v in part])
        for path in artifacts:
            self._client.log_artifact(run.run_id, str(path))
        self._write(self._client.set_terminated, run.run_id, "FINISHED")
        del self._open[spec.key]

    def fail(self, spec: "RunSpec", traceback: str) -> None:
        """Log why the run failed: the last line as tag `failure`, all of it as artifact `failure.txt`."""
        run = self._open.pop(spec.key)
        self._flush(run)
        self._write(self._client.set_tag, run.run_id, "failure", last_line(traceback)[:1000])
        self._client.log_text(run.run_id, traceback, "failure.txt")
        self._write(self._client.set_terminated, run.run_id, "FAILED")

    def kill(self, spec: "RunSpec") -> None:
        """Say that the run was interrupted; the next `start` goes on with it."""
        run = self._open.pop(spec.key)
        self._flush(run)
        self._write(self._client.set_terminated, run.run_id, "KILLED")

    def finished(self, keys: Iterable[str], dataset: str | None = None) -> dict[str, Row]:
        """The rows of the finished runs among `keys`."""
        wanted = set(keys)
        runs = self._search(self._known_experiments(dataset), "attributes.status = 'FINISHED'")
        return {key: _row(run) for key, run in _newest(runs).items() if key in wanted}

    def rows(self, dataset: str | None = None, method: str | None = None) -> list[Row]:
        """One row per key, by dataset, method, seed and fold.

        A row has: key, method, label, dataset, protocol, fold, seed, preset, status (finished, failed, killed,
        running), metric, value, unimodal (modality -> value), seconds, seconds_per_step, run_id, started, metrics,
        params, tags. A key trained twice (`--force`) shows its newest finished run.
        """
        found = [_row(run) for run in _newest(self._search(self._known_experiments(dataset), "")).values()]
        rows = [row for row in found if method is None or row["method"] == method]
        return sorted(rows, key=lambda row: (row["dataset"], row["label"], row["seed"], row["fold"], row["started"]))

    def predictions(self, run_id: str) -> "pd.DataFrame":
        """The per-sample predictions of a run; UserError where it has none."""
        import pandas as pd
        from mlflow.exceptions import MlflowException

        try:
            return pd.read_parquet(self._client.download_artifacts(run_id, "predictions.parquet"))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {run_id} has no readable predictions.parquet ({error}). Is the run finished, and is the artifact "
                "folder still where it was? Train the run again with --force."
            ) from error

    def _connect(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            with self._lock:
                self._prepare_file()
                client = MlflowClient(self.uri)
                client.search_experiments(max_results=1)
        except Exception as error:
            raise UserError(
                f"the record at '{self.uri}' cannot be opened: {error}. Give another --tracking-uri or MCR_BENCH_HOME."
            ) from error
        return client

    def _prepare_file(self) -> None:
        if self._file:
            if not self._file.exists():
                self._create_file(self._file)
            connection = sqlite3.connect(self._file, timeout=30)
            connection.execute("PRAGMA journal_mode=WAL")  # readers go on while one command writes
            connection.close()

    def _create_file(self, path: Path) -> None:
        """Make the tables under another name first: a command killed meanwhile must not leave a broken record."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        for leftover in path.parent.glob(f"{new.name}*"):
            leftover.unlink()
        open_store: Any = SqlAlchemyStore  # MLflow leaves it untyped
        open_store(f"sqlite:///{new}", (self.home / "artifacts").as_uri()).engine.dispose()
        new.rename(path)

    def _write(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """The call, as the only writer of a local file; tried again while other programs lock the database."""
        for pause in (0.1, 0.3, 1.0, 3.0, 10.0):
            try:
                with self._lock:
                    return call(*args, **kwargs)
            except Exception as error:
                if "database is locked" not in str(error):
                    raise
                time.sleep(pause)
        with self._lock:
            return call(*args, **kwargs)

    def _experiment(self, dataset: str) -> str:
        if dataset not in self._experiments:
            self._experiments[dataset] = self._write(self._find_experiment, dataset)
        return self._experiments[dataset]

    def _find_experiment(self, dataset: str) -> str:
        found = self._client.get_experiment_by_name(PREFIX + dataset)
        if found is None:
            folder = self.home / "artifacts" / re.sub(r"[^\w.-]+", "-", dataset)
            return str(self._client.create_experiment(PREFIX + dataset, folder.as_uri() if self._file else None))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _known_experiments(self, dataset: str | None) -> list[str]:
        experiments = self._client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'", max_results=BATCH)
        return [e.experiment_id for e in experiments if dataset is None or e.name == PREFIX + dataset]

    def _search(self, experiments: list[str], text: str) -> list[Any]:
        found, token = [], None
        while experiments:
            page = self._client.search_runs(experiments, text, max_results=BATCH, page_token=token)
            found += page
            token = page.token
            if not token:
                break
        return found

    def _create(self, spec: "RunSpec") -> Any:
        title, bracket, overrides = spec.label.partition(" [")  # the UI cuts long names: what differs comes first
        name = f"{title}, seed {spec.seed}, fold {spec.fold}{bracket}{overrides}"
        return self._write(self._client.create_run, self._experiment(spec.dataset), tags=spec.tags(), run_name=name)

    def _reopen(self, run: Any) -> Any:
        self._write(self._client.update_run, run.info.run_id, status="RUNNING")
        if "failure" in run.data.tags:
            self._write(self._client.delete_tag, run.info.run_id, "failure")
        return run

    def _flush(self, run: _Open) -> None:
        """Write the buffered epochs, each whole in one call; marker `epoch` comes last where that is too much."""
        metrics: list[Any] = []
        for event in run.buffer:
            values = {**event.metrics, "epoch": float(event.epoch)}
            if len(metrics) + len(values) > BATCH:
                self._log_metrics(run.run_id, metrics)
                metrics = []
            metrics += [_metric(k, v, event.when, event.epoch) for k, v in values.items()]
        self._log_metrics(run.run_id, metrics)
        run.buffer.clear()

    def _log_metrics(self, run_id: str, metrics: Sequence[Any]) -> None:
        for part in _parts(metrics, BATCH):
            self._write(self._client.log_batch, run_id, metrics=part)


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _parts(items: Iterable[T], size: int) -> list[list[T]]:
    found = list(items)
    return [found[i : i + size] for i in range(0, len(found), size)]


def _name(text: str) -> str:
    """A name as MLflow takes it: it refuses other characters and paths such as ./file."""
    return re.sub(r"[^\w\-. :/]", "_", text).removeprefix("./")


def _param(name: str, value: str) -> Any:
    from mlflow.entities import Param

    return Param(_name(name), value)


def _tag(name: str, value: str) -> Any:
    from mlflow.entities import RunTag

    return RunTag(_name(name), value)


def _metric(name: str, value: float, when: float, step: int) -> Any:
    from mlflow.entities import Metric

    return Metric(_name(name), float(value), int(when * 1000), step)


def _newest(runs: Iterable[Any]) -> dict[str, Any]:
    """Key -> its newest finished run, or its newest where none is finished."""
    ordered = sorted(runs, key=lambda run: (run.info.status == "FINISHED", run.info.start_time))
    return {run.data.tags["key"]: run for run in ordered if "key" in run.data.tags}


def _row(run: Any) -> Row:
    tags, metrics = run.data.tags, run.data.metrics
    metric, place = tags.get("metric", ""), "test/modality/"
    unimodal = {k.removeprefix(place).rpartition("/")[0]: v for k, v in metrics.items() if k.startswith(place)}
    return {
        **{name: tags.get(name, "") for name in ("key", "method", "label", "dataset", "protocol")},
        **{name: int(tags.get(name, -1)) for name in ("fold", "seed")},
        "preset": tags.get("preset", ""),
        "status": run.info.status.lower(),
        "metric": metric,
        "value": metrics.get(f"test/{metric}"),
        "unimodal": unimodal,
        "seconds": metrics.get("cost/seconds"),
        "seconds_per_step": metrics.get("cost/seconds_per_step"),
        "run_id": run.info.run_id,
        "started": run.info.start_time / 1000,
        "metrics": dict(metrics),
        "params": dict(run.data.params),
        "tags": dict(tags),
    }
