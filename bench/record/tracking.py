"""The record of all runs: written to MLflow, and read from it."""

import os
import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from filelock import FileLock

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.errors import UserError, error_at_end, one_line, within_bounds
from mcr_bench.bench.record.checked import Checked, check_files
from mcr_bench.bench.record.entities import in_parts, metric, name_of, param, tag
from mcr_bench.bench.record.files.artifacts import Stored
from mcr_bench.bench.record.files.checksums import checksum_tags
from mcr_bench.bench.record.files.lost import Lost
from mcr_bench.bench.record.files.places import ARTIFACTS, Places, require_file
from mcr_bench.bench.record.files.predictions import PREDICTIONS, Predictions
from mcr_bench.bench.record.made_rows import Reading, Unreadable
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import PREFIX, Reader, StoredRun, preset_tags
from mcr_bench.bench.record.sqlite import SqliteReader
from mcr_bench.bench.record.store import SearchReader, database_file, database_uri, open_client, prepare_file
from mcr_bench.bench.record.tags import PRESETS
from mcr_bench.bench.runs.events import EpochDone

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    from mcr_bench.bench.record.files.samples import Samples
    from mcr_bench.bench.runs.spec import RunSpec

T = TypeVar("T")
P = ParamSpec("P")
FLUSH_SECONDS = 10.0
BATCH = 1000  # most metrics that MLflow takes in one call; params and tags: 100


@dataclass
class _Open:
    """A run that is being written: epochs up to `last` are logged or buffered; `earlier`: metrics of past attempts."""

    run_id: str
    last: int
    earlier: frozenset[str]
    buffer: list[EpochDone] = field(default_factory=list)


class Record:
    """The record: one MLflow run for every run, in the experiment `mcr-bench/DATASET` of its dataset.

    uri: a tracking URI; None: that of MLFLOW_TRACKING_URI, or the SQLite file `mlflow.db` in `home`.
    home: the folder of a local record and its artifacts.
    note: is called with each line that a reader must know besides the rows.
    UserError if the store cannot be opened.
    """

    def __init__(
        self, uri: str | None = None, home: Path | None = None, note: Callable[[str], object] = lambda _: None
    ) -> None:
        self.home = (home or default_home()).resolve()
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the folder of the record, '{self.home}', cannot be made: {error}. "
                "Set MCR_BENCH_HOME to another folder, or work in a folder that you may write to."
            ) from error
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or database_uri(self.home / "mlflow.db")
        self._file = database_file(self.uri)
        self._places = Places(self.home, (self._file.parent if self._file else self.home).resolve())
        self._lock = FileLock(f"{self._file}.lock") if self._file else nullcontext()
        self._experiments: dict[str, str] = {}
        self._open: dict[str, _Open] = {}
        self._flushed = time.monotonic()
        self._reading, self._seen = Reading(note), dict[str, Stored]()
        lost, cache = Lost(note, self._reading.names), self.home / "cache" / "samples.db"
        self._files = Predictions(lambda: self.client, self._stored, self._places.readable, cache, lost)
        self._prepare()

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client. Reading a local record works without it, and importing MLflow takes seconds."""
        with self._lock:
            return self._opened(open_client, self.uri)

    def start(self, spec: "RunSpec", again: bool = False) -> str | None:
        """Open the MLflow run of `spec`, the unfinished one of the same key if there is one, and return its id.

        None, and nothing opened, if the key is finished already, unless `again` is true.
        """
        self._experiment(spec.dataset)  # first: it brings a deleted experiment back, with its runs
        runs = self._read(spec.dataset, [spec.key])
        if not again and any(run.finished for run in runs):
            return None
        latest = max(runs, key=lambda run: run.started, default=None)
        run = self._create(spec) if latest is None or latest.finished else self._reopen(latest)
        missing = {k: v for k, v in spec.params().items() if name_of(k) not in run.params}
        for part in in_parts(missing.items(), 100):
            self._write(self.client.log_batch, run.run_id, params=[param(k, v) for k, v in part])
        self._open[spec.key] = _Open(run.run_id, int(run.metrics.get("epoch", 0)), frozenset(run.metrics))
        return run.run_id

    def log_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        """Buffer the metrics of an epoch for the next flush; an epoch that is already logged is ignored."""
        run = self._open[spec.key]
        if event.epoch > run.last:
            run.buffer.append(event)
            run.last = event.epoch
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write the buffered epochs if the last flush was more than ten seconds ago."""
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
        """Log the final metrics, tags and artifacts, and only then mark the run as finished."""
        run, now = self._open[spec.key], time.time()
        contents = {path: path.read_bytes() for path in artifacts}
        sums = checksum_tags({path.name: content for path, content in contents.items()})
        self._flush(run)
        values = (metric(k, v, now, run.last) for k, v in metrics.items() if not self._has_logged(run, k))
        texts = (tag(k, v) for k, v in {**(tags or {}), **sums}.items())
        for some, about in zip_longest(in_parts(values, BATCH), in_parts(texts, 100), fillvalue=()):
            self._write(self.client.log_batch, run.run_id, metrics=some, tags=about)
        places = {path.name: (content, self._keep(run.run_id, path, content)) for path, content in contents.items()}
        self._write(self.client.set_terminated, run.run_id, "FINISHED")
        if PREDICTIONS in places:
            self._files.keep(run.run_id, *places[PREDICTIONS])
        del self._open[spec.key]

    def fail(self, spec: "RunSpec", traceback: str, reason: str = "") -> None:
        """Log why a run failed: the reason, or what ends the traceback, as a tag, the traceback as `failure.txt`."""
        run = self._open.pop(spec.key)
        try:
            self._flush(run)
            self._write(self.client.set_tag, run.run_id, "failure", one_line(reason or error_at_end(traceback)))
            with TemporaryDirectory() as folder:
                path = Path(folder) / "failure.txt"
                path.write_text(within_bounds(traceback), encoding="utf-8")
                for name, text in checksum_tags({path.name: path.read_bytes()}).items():
                    self._write(self.client.set_tag, run.run_id, name, text)
                self._keep(run.run_id, path, path.read_bytes())
        finally:  # whatever could not be kept of it, the run has failed
            self._write(self.client.set_terminated, run.run_id, "FAILED")

    def kill(self, spec: "RunSpec") -> None:
        """Mark the run as interrupted; the next `start` of the same key continues it."""
        run = self._open.pop(spec.key)
        self._flush(run)
        self._write(self.client.set_terminated, run.run_id, "KILLED")

    def add_presets(self, asked: Iterable["RunSpec"]) -> None:
        """Note in the finished runs of these keys that they were requested under these presets as well."""
        by_dataset: dict[str, list[RunSpec]] = {}
        for spec in asked:
            by_dataset.setdefault(spec.dataset, []).append(spec)
        for dataset, specs in by_dataset.items():
            stored = self._read(dataset, {spec.key for spec in specs})
            for run_id, text in preset_tags(stored, specs).items():
                self._write(self.client.set_tag, run_id, PRESETS, text)

    def finished_keys(self, keys: Iterable[str], dataset: str | None = None) -> set[str]:
        """Those of `keys` that have a finished run, even one whose other tags cannot be read."""
        return {run.tags["key"] for run in self._read(dataset, set(keys)) if run.finished}

    def finished(self, keys: Iterable[str], dataset: str | None = None) -> dict[str, RunRow]:
        """The rows of the finished runs among `keys`."""
        return {row.key: row for row in self._reading.rows(self._read(dataset, set(keys))) if row.finished}

    def rows(self, dataset: str | None = None, method: str | None = None) -> list[RunRow]:
        """One row per key, sorted by dataset, label, seed and fold; of a key trained twice (`--force`) the newest run.

        A run that cannot be read is left out, and noted once.
        """
        rows = [row for row in self._reading.rows(self._read(dataset)) if method is None or row.method == method]
        return sorted(rows, key=lambda row: (row.dataset, row.label, row.seed, row.fold, row.started))

    @property
    def unreadable(self) -> list[Unreadable]:
        """The runs that `rows` and `finished` have left out so far."""
        return list(self._reading.unreadable.values())

    @property
    def lost(self) -> list[str]:
        """What was noted of files that are missing or damaged, a line each."""
        return list(self._files.lost.notes)

    def predictions(self, run_id: str) -> "pd.DataFrame":
        """The predictions of a run, one row per sample; UserError if it has none that are what was recorded."""
        return self._files.table(run_id)

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metric -> its (epoch, value) over a run, by epoch; UserError where the record has no such run."""
        if self._file is not None:
            with suppress(sqlite3.Error):
                if curves := SqliteReader(self._file).history(run_id):
                    return curves
        client = self.client
        return self._opened(SearchReader(lambda: client).history, run_id)

    def samples(self, run_ids: Iterable[str]) -> "dict[str, Samples]":
        """Run id -> scores of its test samples, cached in `home/cache`; those without predictions are left out."""
        return self._files.samples(run_ids)

    def floors(self, run_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Run id -> metric -> score of a constant on its test part; runs without predictions are left out."""
        return self._files.floors(run_ids)

    def checked(self) -> list[Checked]:
        """The files of all runs that have ended, each with its state, and whether a later run has replaced it."""
        stored = [run for run in self._read() if run.status != "RUNNING"]
        return check_files(stored, self.rows(), self._reading.names, self._files)

    def _prepare(self) -> None:
        """Open the store, or make it. A store without a local file needs the client at once."""
        if self._file is None:
            _ = self.client
        else:
            with self._lock:
                self._opened(prepare_file, self._file, self.home / ARTIFACTS)
                self._opened(self._places.settle, self._file)

    def _keep(self, run_id: str, path: Path, content: bytes) -> Path | None:
        """Store a file as an artifact of a run: in its folder, which is given, or through MLflow: then None."""
        place = self._write(self._places.settled, self._file, run_id) if self._file is not None else None
        if place is None:
            self.client.log_artifact(run_id, str(path))
            return None
        write_whole(place / path.name, content)
        return place / path.name

    def _opened(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            server = self.uri.startswith(("http://", "https://"))
            hint = "Is the server running? (MLFLOW_HTTP_REQUEST_TIMEOUT=60 waits for a slow one.) " if server else ""
            raise UserError(
                f"the record at '{self.uri}' cannot be opened: {error}. "
                f"{hint}Give another --tracking-uri or MCR_BENCH_HOME."
            ) from error

    def _read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        if self._file is not None:
            with suppress(sqlite3.Error):  # tables that an MLflow to come keeps otherwise, or none yet: it sees to them
                return SqliteReader(self._file).read(dataset, keys)
        client = self.client
        search: Reader = SearchReader(lambda: client)
        runs = self._opened(search.read, dataset, keys)
        self._seen.update({run.run_id: run.files for run in runs})
        return runs

    def _stored(self, run_ids: Iterable[str]) -> Mapping[str, Stored]:
        if self._file is not None:
            with suppress(sqlite3.Error):
                return SqliteReader(self._file).artifacts(run_ids)
        return self._seen

    def _write(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call as the only writer of a local file, and repeat it while other programs lock the database."""
        require_file(self._file)
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
        experiment = self.client.get_experiment_by_name(PREFIX + dataset)
        if experiment is None:
            folder = self.home / ARTIFACTS / re.sub(r"[^\w.-]+", "-", dataset)
            return str(self.client.create_experiment(PREFIX + dataset, folder.as_uri() if self._file else None))
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _create(self, spec: "RunSpec") -> StoredRun:
        title, bracket, overrides = spec.label.partition(" [")  # the UI cuts long names: differences come first
        name = f"{title}, seed {spec.seed}, fold {spec.fold}{bracket}{overrides}"
        experiment = self._experiment(spec.dataset)
        return StoredRun.of(self._write(self.client.create_run, experiment, tags=spec.tags(), run_name=name))

    def _reopen(self, run: StoredRun) -> StoredRun:
        self._write(self.client.update_run, run.run_id, status="RUNNING")
        if "failure" in run.tags:
            self._write(self.client.delete_tag, run.run_id, "failure")
        return run

    def _has_logged(self, run: _Open, metric: str) -> bool:
        """Whether an earlier attempt that was stopped before its end has logged this final metric."""
        name = name_of(metric)
        if name not in run.earlier:
            return False
        return any(point.step == run.last for point in self.client.get_metric_history(run.run_id, name))

    def _flush(self, run: _Open) -> None:
        """Write the buffered epochs, each in one call if it is small enough; the metric `epoch` comes last."""
        metrics: list[Metric] = []
        for event in run.buffer:
            values = {**event.metrics, "epoch": float(event.epoch)}
            if len(metrics) + len(values) > BATCH:
                self._log_metrics(run.run_id, metrics)
                metrics = []
            metrics += [metric(k, v, event.when, event.epoch) for k, v in values.items()]
        self._log_metrics(run.run_id, metrics)
        run.buffer.clear()

    def _log_metrics(self, run_id: str, metrics: "Sequence[Metric]") -> None:
        for part in in_parts(metrics, BATCH):
            self._write(self.client.log_batch, run_id, metrics=part)
