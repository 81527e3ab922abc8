"""Writes runs to MLflow: each call can be made again after one that failed, and leaves nothing twice."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.record.database.points import add_points
from mcr_bench.bench.record.database.turns import Turns
from mcr_bench.bench.record.entities import in_parts, metric, name_of, param, tag
from mcr_bench.bench.record.files.checksums import checksum_tags
from mcr_bench.bench.record.files.places import ARTIFACTS, Places
from mcr_bench.bench.record.outbox.entries import FINISHED, KILLED, Ending, Opening
from mcr_bench.bench.record.runs import Latest, StoredRun
from mcr_bench.bench.record.store import experiment_of
from mcr_bench.bench.record.tags import NUMBERS
from mcr_bench.bench.runs.events import EpochDone

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

T = TypeVar("T")
P = ParamSpec("P")
BATCH = 1000  # most metrics that MLflow takes in one call; params and tags: 100
AT_ONCE = 50_000  # metrics in one transaction of a local record, which holds others up for half a second
MOST_EPOCHS = 2**53  # a float holds every whole number up to it
EPOCH = "epoch"  # the metric that is written last of an epoch
ATTEMPT = "attempt"  # the tag that tells the trainings of a key apart


@dataclass
class _Open:
    """A run that is being written.

    last: the last epoch that is logged or buffered.
    earlier: metrics of past attempts.
    logged: the epochs that the store has, or that are buffered for it.
    given: the epochs that were given to be logged.
    """

    run_id: str
    last: int
    earlier: frozenset[str]
    logged: set[int]
    given: set[int] = field(default_factory=set)
    buffer: list[EpochDone] = field(default_factory=list)


@dataclass
class Writer:
    """Writes to a store, as its only writer where that is a local file.

    client: gives the MLflow client.
    read: (dataset, keys) -> the runs of these keys that are in the store.
    latest: (dataset, key) -> what a run that begins has to come after.
    turns: how it takes turns with other commands.
    home: the folder of a local record's artifacts.
    places: where these are.
    """

    client: "Callable[[], MlflowClient]"
    read: Callable[[str, list[str]], list[StoredRun]]
    latest: Callable[[str, str], Latest]
    turns: Turns
    home: Path
    places: Places
    _experiments: dict[str, str] = field(default_factory=dict)
    _open: dict[str, _Open] = field(default_factory=dict)

    def start(self, opening: Opening) -> str | None:
        """Open the MLflow run of a training, the unfinished one of the same key if there is one, and return its id.

        None, and nothing opened, if the key is finished already and is not trained again, or if this very training is.
        """
        self.client()  # makes a local record
        self._experiment(opening.dataset)  # first: it brings a deleted experiment back, with its runs
        runs = self.read(opening.dataset, [opening.key])
        own = [run for run in runs if opening.attempt and run.tags.get(ATTEMPT) == opening.attempt]
        if any(run.finished for run in (own if opening.again else runs)):
            return None
        latest = max(own or runs, key=lambda run: run.order, default=None)
        is_new = latest is None or latest.finished
        run = self._create(opening) if is_new or latest is None else self._reopen(latest, opening)
        logged = self._steps_of(run)
        self._open[opening.key] = _Open(run.run_id, max(logged, default=0), frozenset(run.metrics), logged)
        missing = {k: v for k, v in opening.params.items() if name_of(k) not in run.params}
        for part in in_parts(missing.items(), 100):
            self._write(self.client().log_batch, run.run_id, params=[param(k, v) for k, v in part])
        return run.run_id

    def log(self, event: EpochDone) -> None:
        """Buffer the metrics of an epoch until `flush`; an epoch that is already logged is ignored."""
        run = self._open[event.key]
        run.given.add(event.epoch)
        if event.epoch not in run.logged:
            run.buffer.append(event)
            run.logged.add(event.epoch)
            run.last = max(run.last, event.epoch)

    @property
    def keys(self) -> list[str]:
        """The keys of the runs that are being written."""
        return list(self._open)

    def flush(self, key: str) -> None:
        """Write the buffered epochs of a run."""
        self._flush(self._open[key])

    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> str:
        """Log how a training ended, its final values and its files, and only then its status; returns the run's id."""
        if ending.status != FINISHED:
            return self._stop(self._open.pop(key), ending)
        run = self._open[key]
        contents = {path: path.read_bytes() for path in paths}
        self._flush(run)
        self._check_curves(run)
        self._log_values(run, ending, checksum_tags({path.name: content for path, content in contents.items()}))
        for path, content in contents.items():
            self._keep(run.run_id, path, content)
        self._terminate(run, ending)
        del self._open[key]
        return run.run_id

    def run_id(self, key: str) -> str:
        """The name in the store of a run that is being written; '' where it is not."""
        return self._open[key].run_id if key in self._open else ""

    def is_gone(self, run_id: str) -> bool:
        """Whether a run was deleted from the store, as in MLflow's page."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(run_id) and self.client().get_run(run_id).info.lifecycle_stage == "deleted"
        except MlflowException as error:
            return str(error.error_code) == "RESOURCE_DOES_NOT_EXIST"

    def forget(self, key: str) -> None:
        """Know nothing of a run any more, as after a call that failed: `start` asks the store what it has of it."""
        self._open.pop(key, None)
        self._experiments.clear()

    def remove_doubles(self, opening: Opening, keep: str) -> None:
        """Delete unfinished runs of this training beside the run `keep`.

        A store that has made a run and could not say so is asked to make it again.
        """
        for run in self.read(opening.dataset, [opening.key]):
            if run.tags.get(ATTEMPT) == opening.attempt and run.run_id != keep and not run.finished:
                self._write(self.client().delete_run, run.run_id)

    def tag(self, run_id: str, name: str, text: str) -> None:
        """Set a tag of a run."""
        self._write(self.client().set_tag, run_id, name, text)

    def _write(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.turns.write(call, *args, **kwargs)

    def _experiment(self, dataset: str) -> str:
        if dataset not in self._experiments:
            artifacts = self.home / ARTIFACTS if self.turns.file else None
            self._experiments[dataset] = self._write(experiment_of, self.client(), dataset, artifacts)
        return self._experiments[dataset]

    def _create(self, opening: Opening) -> StoredRun:
        experiment, when = self._experiment(opening.dataset), int(opening.when * 1000)
        tags = opening.tags | self.latest(opening.dataset, opening.key).tags(when)
        tags |= {ATTEMPT: opening.attempt} if opening.attempt else {}
        made = StoredRun.of(self._write(self.client().create_run, experiment, when, tags, opening.name))
        if not made.run_id:  # what answers is not the server: later calls would be refused for want of a run
            raise ConnectionError("no answer of an MLflow server: the run that it made has no id")
        return made

    def _reopen(self, run: StoredRun, opening: Opening) -> StoredRun:
        client = self.client()
        self._write(client.update_run, run.run_id, status="RUNNING")
        if "failure" in run.tags:
            self._write(client.delete_tag, run.run_id, "failure")
        if opening.attempt and run.tags.get(ATTEMPT) != opening.attempt:
            self._write(client.set_tag, run.run_id, ATTEMPT, opening.attempt)
        return run

    def _stop(self, run: _Open, ending: Ending) -> str:
        if ending.status == KILLED:
            self._flush(run)
            self._terminate(run, ending)
            return run.run_id
        try:  # whatever could not be kept of it, the run has failed, and for this reason
            self._flush(run)
        finally:
            try:
                self._say_why(run.run_id, ending)
            finally:
                self._terminate(run, ending)
        return run.run_id

    def _terminate(self, run: _Open, ending: Ending) -> None:
        self._write(self.client().set_terminated, run.run_id, ending.status, int(ending.when * 1000))

    def _say_why(self, run_id: str, ending: Ending) -> None:
        self._write(self.client().set_tag, run_id, "failure", ending.reason)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "failure.txt"
            path.write_text(ending.traceback, encoding="utf-8")
            for name, text in checksum_tags({path.name: path.read_bytes()}).items():
                self._write(self.client().set_tag, run_id, name, text)
            self._keep(run_id, path, path.read_bytes())

    def _log_values(self, run: _Open, ending: Ending, sums: Mapping[str, str]) -> None:
        values = [
            metric(k, v, ending.when, run.last) for k, v in ending.metrics.items() if not self._has_logged(run, k)
        ]
        self._log_metrics(run.run_id, [values])
        for about in in_parts((tag(k, v) for k, v in {**ending.tags, **sums}.items()), 100):
            self._write(self.client().log_batch, run.run_id, tags=about)

    def _keep(self, run_id: str, path: Path, content: bytes) -> None:
        """Store a file as an artifact of a run: in its folder if that is on this machine, or through MLflow."""
        file = self.turns.file
        place = self._write(self.places.settled, file, run_id) if file is not None else None
        if place is None:
            self.client().log_artifact(run_id, str(path))
        else:
            write_whole(place / path.name, content)

    def _has_logged(self, run: _Open, metric: str) -> bool:
        """Whether an earlier attempt that was stopped before its end has logged this final metric."""
        name = name_of(metric)
        if name not in run.earlier:
            return False
        return any(point.step == run.last for point in self.client().get_metric_history(run.run_id, name))

    def _steps_of(self, run: StoredRun) -> set[int]:
        """The epochs that the store has of a run. A server may have lost some that came before others."""
        last = _epochs_of(run)
        return set(range(1, last + 1)) if self.turns.file is not None or not last else self._epochs_at(run.run_id)

    def _epochs_at(self, run_id: str) -> set[int]:
        return {point.step for point in self.client().get_metric_history(run_id, EPOCH)}

    def _check_curves(self, run: _Open) -> None:
        """ConnectionError if a server lacks epochs that it has taken, as one that began anew with an older database."""
        if self.turns.file is None and run.given and (lost := run.given - self._epochs_at(run.run_id)):
            raise ConnectionError(f"the server has lost {len(lost)} of the {len(run.given)} epochs that it was told of")

    def _flush(self, run: _Open) -> None:
        """Write the buffered epochs, each in one call if it is small enough; the metric `epoch` comes last."""
        epochs = []
        for event in run.buffer:
            values = {**event.metrics, EPOCH: float(event.epoch)}
            epochs.append([metric(k, v, event.when, event.epoch) for k, v in values.items()])
        self._log_metrics(run.run_id, epochs)
        run.buffer.clear()

    def _log_metrics(self, run_id: str, groups: "Sequence[list[Metric]]") -> None:
        """Write metrics, those of a group in one call if it is small enough."""
        file = self.turns.file
        if file is not None and all(self._write(add_points, file, run_id, some) for some in _together(groups, AT_ONCE)):
            return
        for some in _together(groups, BATCH):
            for part in in_parts(some, BATCH):
                self._write(self.client().log_batch, run_id, metrics=part)


def _together(groups: "Iterable[list[Metric]]", most: int) -> "Iterator[list[Metric]]":
    """Whole groups joined as long as they have at most so many metrics; a larger one comes alone."""
    joined: list[Metric] = []
    for group in groups:
        if joined and len(joined) + len(group) > most:
            yield joined
            joined = []
        joined += group
    if joined:
        yield joined


def _epochs_of(run: StoredRun) -> int:
    """The last epoch on record; 0, so that all are logged again, where the database holds something else."""
    value = run.metrics.get(EPOCH, 0)
    return int(value) if type(value) in NUMBERS and 0 <= value < MOST_EPOCHS else 0
