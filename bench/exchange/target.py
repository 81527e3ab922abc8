"""Where runs go: the record of this machine. A run appears there whole, or not at all.

A run is made without the tags by which records are read, and gets them in one call when everything else is stored. What
a killed command has left is not seen by any verb, and the next one goes on with it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mcr_bench.bench.core.faults.full_disk import full_disk_told
from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import Unavailable, UserError, one_line
from mcr_bench.bench.exchange.whole import MOVED_FROM, Point, WholeRun
from mcr_bench.bench.printable import masked
from mcr_bench.bench.record.entities import in_parts, param, tag
from mcr_bench.bench.record.files.checksums import checksum_tags
from mcr_bench.bench.record.files.places import ARTIFACTS, Places
from mcr_bench.bench.record.runs import MARKS, Reader, StoredRun
from mcr_bench.bench.record.sqlite import SqliteReader
from mcr_bench.bench.record.store import SearchReader, database_file, experiment_of, restored
from mcr_bench.bench.record.tracking import Record

if TYPE_CHECKING:
    from mlflow.entities import Metric

T = TypeVar("T")
P = ParamSpec("P")
POINTS, TAGS = 1000, 100  # most of them that MLflow takes in one call
SEEN_BY = {"key", *MARKS}
PUT_OFF = "the record cannot be written now. What was added is kept, and the same command continues."


class Target:
    """The record that runs are added to."""

    def __init__(self, record: Record) -> None:
        record.prepare()
        self.home, self._record = record.home, record
        self.file = database_file(record.uri)
        self._places = Places(record.home, self.file.parent.resolve()) if self.file else None
        self._experiments: dict[str, str] = {}

    def runs(self, key: str | None = None) -> list[StoredRun]:
        """The runs of the record, or those of one key; those that were begun and not completed too."""
        keys = None if key is None else [key]
        record = self._record
        reader: Reader = (
            SqliteReader(self.file, record.turns.patience) if self.file else SearchReader(lambda: record.client)
        )
        return _read(reader, keys)

    def restore_experiments(self, datasets: Iterable[str]) -> None:
        """Bring back those of these datasets that were deleted, with their runs.

        Before asking what is finished here: `add` brings them back too, and such a key would be there twice.
        """
        for dataset in datasets:
            self._call(restored, self._record.client, dataset)

    def add(self, run: WholeRun, contents: Mapping[str, bytes], begun: StoredRun | None) -> None:
        """Add a run. contents: name -> that of each of its files; begun: what a killed command has left of this run."""
        run_id = begun.run_id if begun else self._create(run)
        client = self._record.client
        for some in in_parts(run.params.items(), TAGS):
            self._call(client.log_batch, run_id, params=[param(k, v) for k, v in some])
        known = {name: self._known(run_id, name) for name in begun.metrics} if begun else {}
        points = [(name, p) for name, curve in run.metrics.items() for p in curve if repr(p) not in known.get(name, ())]
        for part in in_parts(points, POINTS):
            self._call(client.log_batch, run_id, metrics=[_metric(name, point) for name, point in part])
        for name, value in contents.items():
            self._call(self._keep, run_id, name, value)
        self._call(client.set_terminated, run_id, "FINISHED", run.ended)
        texts = sorted({**run.tags, **checksum_tags(contents)}.items(), key=lambda one: one[0] in SEEN_BY)
        for some in in_parts(texts, TAGS):  # the key comes with the last ones: now the run is seen
            self._call(client.log_batch, run_id, tags=[tag(k, v) for k, v in some])

    def hidden_runs(self) -> list[StoredRun]:
        """The runs in MLflow's state `deleted`."""
        from mlflow.entities import ViewType

        record = self._record
        return _read(SearchReader(lambda: record.client, ViewType.DELETED_ONLY))

    def hide(self, run_id: str) -> None:
        """Put a run into that state."""
        self._call(self._record.client.delete_run, run_id)

    def bring_back(self, run_id: str) -> None:
        """Take a run out of it."""
        self._call(self._record.client.restore_run, run_id)

    def tag(self, run_id: str, name: str, text: str) -> None:
        """Set a tag of a run."""
        self._call(self._record.client.set_tag, run_id, name, text)

    def _create(self, run: WholeRun) -> str:
        made = self._call(
            self._record.client.create_run,
            self._experiment(run.dataset),
            run.started,
            {MOVED_FROM: run.run_id},
            run.name or None,
        )
        return str(made.info.run_id)

    def _known(self, run_id: str, name: str) -> set[str]:
        history = self._call(self._record.client.get_metric_history, run_id, name)
        return {repr(Point(m.step, m.value, m.timestamp)) for m in history}

    def _experiment(self, dataset: str) -> str:
        if dataset not in self._experiments:
            artifacts = self.home / ARTIFACTS if self.file else None
            self._experiments[dataset] = self._call(experiment_of, self._record.client, dataset, artifacts)
        return self._experiments[dataset]

    def _keep(self, run_id: str, name: str, content: bytes) -> None:
        place = self._places.settled(self.file, run_id) if self._places and self.file else None
        if place is not None:
            return write_whole(place / name, content)
        with TemporaryDirectory() as folder:
            file = Path(folder) / Path(name).name
            file.write_bytes(content)
            parent = Path(name).parent.as_posix()
            self._record.client.log_artifact(run_id, str(file), None if parent == "." else parent)

    def _call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with full_disk_told():
                return self._record.turns.write(call, *args, **kwargs)
        except UserError:
            raise
        except Exception as error:
            raise Unavailable(f"{PUT_OFF} {one_line(masked(str(error)))}") from error


def _read(reader: Reader, keys: list[str] | None = None) -> list[StoredRun]:
    try:
        return reader.read(None, keys)
    except UserError:
        raise
    except Exception as error:  # of SQLite, or whatever MLflow raises for a store that it cannot reach
        raise UserError(f"the record cannot be read: {one_line(masked(str(error)))}.") from error


def _metric(name: str, point: Point) -> "Metric":
    from mlflow.entities import Metric

    return Metric(name, point.value, point.when, point.step)
