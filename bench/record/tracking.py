"""The record of all runs: written to MLflow, and read from it."""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mcr_bench.bench.core.home import VARIABLE, default_home, usable_folder
from mcr_bench.bench.errors import MOST_QUOTED, UserError, error_at_end, one_line, within_bounds
from mcr_bench.bench.printable import in_line, masked
from mcr_bench.bench.record.checked import Checked, check_files
from mcr_bench.bench.record.database.access import require_writable
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.database.snapshot import is_busy, locked
from mcr_bench.bench.record.database.turns import Turns
from mcr_bench.bench.record.database.versions import UnknownVersion
from mcr_bench.bench.record.files.artifacts import Stored
from mcr_bench.bench.record.files.lost import Lost
from mcr_bench.bench.record.files.places import ARTIFACTS, Places
from mcr_bench.bench.record.files.predictions import Predictions, with_scores
from mcr_bench.bench.record.made_rows import Reading, Unreadable
from mcr_bench.bench.record.outbox.entries import FAILED, FINISHED, KILLED, Ending
from mcr_bench.bench.record.remote_writing import RemoteWriting, new_attempt
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import OF_PRESETS, PREFIX, Latest, Reader, StoredRun, preset_tags
from mcr_bench.bench.record.sqlite import SqliteReader, ask
from mcr_bench.bench.record.store import SearchReader, database_file, open_client, prepare_file, store_uri
from mcr_bench.bench.record.tags import PRESETS
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.record.writing import DirectWriting, Writing, opening_of
from mcr_bench.bench.runs.events import EpochDone

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

    from mcr_bench.bench.record.files.samples import Samples
    from mcr_bench.bench.runs.spec import RunSpec

T = TypeVar("T")
P = ParamSpec("P")
SERVER_WAIT = 60.0
RENAMED = (
    "the experiment '{name}' has runs of this program, which commands do not find under this name. Rename it to "
    "'{right}' in MLflow's page (`mcr-bench ui`)."
)


class Record:
    """The record: one MLflow run for every run, in the experiment `mcr-bench/DATASET` of its dataset.

    uri: a tracking URI; None: that of MLFLOW_TRACKING_URI, or the SQLite file `mlflow.db` in `home`.
    home: the folder of a local record and its artifacts.
    note: is called with each line that a reader must know besides the rows.
    server_wait: how many seconds `settle` waits for a server that does not answer.
    UserError if the store cannot be opened.
    """

    def __init__(
        self,
        uri: str | None = None,
        home: Path | None = None,
        note: Callable[[str], object] = lambda _: None,
        server_wait: float = SERVER_WAIT,
    ) -> None:
        self.home = (usable_folder(home, VARIABLE) if home else default_home()).resolve()
        self.uri = store_uri(uri or os.environ.get("MLFLOW_TRACKING_URI"), self.home)
        self._file = database_file(self.uri)
        self._places = Places(self.home, (self._file.parent if self._file else self.home).resolve())
        self.turns, self._prepared, self._looked = Turns(self._file, Patience(note)), False, False
        self._reading, self._seen = Reading(note), dict[str, Stored]()
        lost, cache = Lost(note, self._reading.names), self.home / "cache" / "samples.db"
        self._files = Predictions(lambda: self.client, self._stored, self._places.readable, cache, lost)
        self._remote = None if self._file else RemoteWriting(self.uri, self.home, note, server_wait)
        if self._file is None:
            self._opened(lambda: self.client)

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client. Reading a local record works without it, and importing MLflow takes seconds."""
        if self._remote is not None:
            return self._remote.client
        self.prepare()
        with self.turns.lock:
            return self._opened(open_client, self.uri)

    def prepare(self) -> None:
        """Make the home ready to be written, and of a local record its database and the addresses in it.

        UserError where it cannot be written. Reading does not need it, and writes nothing.
        """
        if self._prepared:
            return
        if self._file is None:
            require_writable(self.home)
        else:
            require_writable(self.home, self._file.parent, self._file)
            with self.turns.lock:
                self._opened(prepare_file, self._file, self.home / ARTIFACTS)
                self._opened(self._places.settle, self._file)
        self._prepared = True

    @property
    def address(self) -> str:
        """The tracking URI without credentials."""
        return masked(self.uri)

    def start(self, spec: "RunSpec", again: bool = False) -> str | None:
        """Open the MLflow run of `spec`, the unfinished one of the same key if there is one, and return its id.

        None, and nothing opened, if the key is finished already, unless `again` is true. "" where a server gives the
        id later: whatever is written to one is kept in `home` until it has it, and nobody waits for it. `Refused` where
        the record does not take the run.
        """
        return self._writing.start(opening_of(spec, again, new_attempt() if self._remote else ""))

    def log_epoch(self, spec: "RunSpec", event: EpochDone) -> None:
        """Buffer the metrics of an epoch for the next flush; an epoch that is already logged is ignored."""
        self._writing.log(event)

    def flush_if_due(self) -> None:
        """Write the buffered epochs if the last flush was more than ten seconds ago."""
        self._writing.flush_if_due()

    def refused(self) -> dict[str, str]:
        """Key -> why, for the runs being trained that the record does not take any more, such as one deleted there."""
        return self._writing.refused()

    def finish(
        self,
        spec: "RunSpec",
        metrics: Mapping[str, float],
        artifacts: Iterable[Path] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log the final metrics, tags and artifacts, and only then mark the run as finished.

        Of predictions the scores per sample, which comparisons read, become an artifact of their own.
        """
        ending = Ending(FINISHED, time.time(), dict(metrics), dict(tags or {}))
        self._writing.end(spec.key, ending, with_scores(artifacts))

    def fail(self, spec: "RunSpec", traceback: str, reason: str = "") -> None:
        """Log why a run failed: the reason, or what ends the traceback, as a tag, the traceback as `failure.txt`."""
        why, trace = one_line(masked(reason or error_at_end(traceback))), within_bounds(masked(traceback))
        self._writing.end(spec.key, Ending(FAILED, time.time(), reason=why, traceback=trace))

    def kill(self, spec: "RunSpec") -> None:
        """Mark the run as interrupted; the next `start` of the same key continues it."""
        self._writing.end(spec.key, Ending(KILLED, time.time()))

    def deliver_owed(self) -> None:
        """Write what earlier commands could not tell a server; Unavailable if it cannot be reached now."""
        self._writing.deliver_owed()

    def settle(self) -> dict[str, str]:
        """Wait until everything that has ended is written; returns key -> why, for what a server does not take.

        Unavailable if a server cannot be reached for `server_wait` seconds: the next `deliver_owed` writes the rest.
        """
        return self._writing.settle()

    def leave(self) -> None:
        """As `settle`, where the command is being stopped: within a second, and without an error."""
        self._writing.leave()

    def add_presets(self, asked: Iterable["RunSpec"]) -> None:
        """Note in the finished runs of these keys that they were requested under these presets as well."""
        by_dataset: dict[str, list[RunSpec]] = {}
        for spec in asked:
            by_dataset.setdefault(spec.dataset, []).append(spec)
        for dataset, specs in by_dataset.items():
            stored = self._read(dataset, {spec.key for spec in specs}, OF_PRESETS)
            for run_id, text in preset_tags(stored, specs).items():
                self._writing.tag(run_id, PRESETS, text)

    def finished_keys(self, keys: Iterable[str], dataset: str | None = None) -> set[str]:
        """Those of `keys` that have a finished run, even one whose other tags cannot be read."""
        return {run.tags["key"] for run in self._read(dataset, set(keys), ["key"]) if run.finished}

    def finished(self, keys: Iterable[str], dataset: str | None = None) -> dict[str, RunRow]:
        """The rows of the finished runs among `keys`."""
        return {row.key: row for row in self._reading.rows(self._read(dataset, set(keys))) if row.finished}

    def rows(self, dataset: str | None = None, method: str | None = None) -> list[RunRow]:
        """One row per key, sorted by dataset, label, seed and fold; of a key trained twice (`--force`) the newest run.

        A run that cannot be read is left out, and noted once.
        """
        rows = [row for row in self._reading.rows(self._read(dataset)) if method is None or row.method == method]
        return sorted(rows, key=lambda row: row.place)

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
        if curves := self._ask(lambda reader: reader.history(run_id)):
            return curves
        client = self.client
        return self._opened(SearchReader(lambda: client).history, run_id)

    def samples(self, run_ids: Iterable[str]) -> "dict[str, Samples]":
        """Run id -> scores of its test samples; runs without readable predictions are left out."""
        return self._files.samples(run_ids)

    def floors(self, run_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Run id -> metric -> score of a constant on its test part; runs without predictions are left out."""
        return self._files.floors(run_ids)

    def checked(self) -> list[Checked]:
        """The files of all runs that have ended, each with its state, and whether a later run has replaced it."""
        stored = [run for run in self._read() if run.status != "RUNNING"]
        return check_files(stored, self.rows(), self._reading.names, self._files, self._inside)

    def _inside(self, file: Path) -> bool:
        """Whether a file is where it stays with this record; a server keeps its files where it was told to."""
        return self._file is None or self._places.holds(file)

    @cached_property
    def _writing(self) -> Writing:
        if self._remote is not None:
            return self._remote
        writer = Writer(lambda: self.client, self._read, self._latest, self.turns, self.home, self._places)
        return DirectWriting(writer)

    def _opened(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self.turns.patience.wait(lambda: call(*args, **kwargs), is_busy, locked(self.address))
        except UserError:
            raise
        except Exception as error:
            raise self._unopened(error) from error

    def _unopened(self, error: Exception) -> UserError:
        told = f"the record at '{self.address}' cannot be opened: {one_line(masked(str(error)), MOST_QUOTED)}"
        return UserError(f"{told}. Give another --tracking-uri or MCR_BENCH_HOME.")

    def _read(
        self, dataset: str | None = None, keys: Collection[str] | None = None, tags: Collection[str] | None = None
    ) -> list[StoredRun]:
        """The runs of a dataset and of these keys. tags: the only ones that are needed; there may be more."""
        self._note_renamed()
        known = self._ask(lambda reader: reader.read(dataset, keys, tags))
        if known is not None:
            return known if tags is not None else [self._readable(run) for run in known]
        client = self.client
        search: Reader = SearchReader(lambda: client)
        runs = self._opened(search.read, dataset, keys)
        self._seen.update({run.run_id: run.files for run in runs})
        return runs

    def _note_renamed(self) -> None:
        """Note once which experiments have been renamed: their runs look like runs that were never trained.

        Of a server it would take too long, as all runs of others would have to be searched.
        """
        if self._looked:
            return
        self._looked = True
        for name, dataset in (self._ask(SqliteReader.renamed) or {}).items():
            self._reading.note(RENAMED.format(name=in_line(name), right=in_line(PREFIX + dataset)))

    def _readable(self, run: StoredRun) -> StoredRun:
        """The run with the address that its files have now."""
        address = self._places.readable(run.artifacts)
        return run if address == run.artifacts else replace(run, artifacts=address)

    def _latest(self, dataset: str, key: str) -> Latest:
        known = self._ask(lambda reader: reader.latest(dataset, key))
        return self._opened(SearchReader(lambda: self.client).latest, dataset, key) if known is None else known

    def _stored(self, run_ids: Iterable[str]) -> Mapping[str, Stored]:
        known = self._ask(lambda reader: reader.artifacts(run_ids))
        return self._seen if known is None else known

    def _ask(self, query: Callable[[SqliteReader], T]) -> T | None:
        """What the file of a local record says; None where MLflow has to be asked."""
        try:
            return None if self._file is None else ask(self._file, self.turns.patience, query)
        except UnknownVersion:
            return None
        except (sqlite3.Error, OSError) as error:
            raise self._unopened(error) from error
