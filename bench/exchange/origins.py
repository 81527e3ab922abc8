"""Where runs come from: the home of another machine, of which nothing is written, or the record of this one."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from mcr_bench.bench.core.home import usable, usable_database
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.exchange.whole import (
    KEY,
    MOVED_FROM,
    OF_MLFLOW,
    RUN_NAME,
    Point,
    RunFile,
    WholeRun,
    point_of,
    require_movable,
)
from mcr_bench.bench.record.database.patience import Patience
from mcr_bench.bench.record.database.versions import UnknownVersion
from mcr_bench.bench.record.files.checksums import checksum, content_of
from mcr_bench.bench.record.files.places import Places, local_path
from mcr_bench.bench.record.made_rows import row_or_why
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import Reader, StoredRun, by_key
from mcr_bench.bench.record.sqlite import NUMBER, SqliteReader
from mcr_bench.bench.record.store import SearchReader, database_file
from mcr_bench.bench.record.tracking import Record

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

POINTS = f"""
SELECT CAST(key AS TEXT), step, {NUMBER}, timestamp FROM metrics WHERE run_uuid = ?
ORDER BY key, step, timestamp, value
"""


class Origin(Protocol):
    """Where runs come from."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    @property
    def home(self) -> Path | None:
        """The folder with the weights of its runs; None where it has none."""
        ...

    def runs(self) -> list[StoredRun]:
        """All of its runs."""
        ...

    def whole(self, run: StoredRun) -> WholeRun:
        """Everything of a run; OSError where a file is damaged, `Malformed` where the run cannot be moved."""
        ...

    def content(self, run: StoredRun, file: RunFile) -> bytes:
        """The content of a file of a run; OSError where it is missing or damaged."""
        ...


class _Store(Protocol):
    """What a whole run is read from."""

    def points(self, run: StoredRun) -> dict[str, list[Point]]: ...
    def names(self, run: StoredRun) -> list[str]: ...
    def content(self, run: StoredRun, name: str, expected: str) -> bytes: ...


class Home:
    """The local record in the home of another machine; `home_at` opens one. file: its database."""

    def __init__(self, home: Path, file: Path, patience: Patience) -> None:
        self.name, self.home, self.file = str(home), file.parent, file
        self._reader, self._files = SqliteReader(file, patience), Files(file, Places(self.home, self.home), patience)

    def runs(self) -> list[StoredRun]:
        with _read_from(self.file):
            return self._reader.read()

    def whole(self, run: StoredRun) -> WholeRun:
        return _whole(self._files, run)

    def content(self, run: StoredRun, file: RunFile) -> bytes:
        return self._files.content(run, file.name, file.sha256)


@contextmanager
def home_at(home: Path, patience: Patience) -> Iterator[Home]:
    """The record in a home, of which nothing is written. UserError where there is none, or it cannot be read.

    patience: how to wait where another program has locked its database.
    """
    file = usable_database(usable(home) / "mlflow.db")
    if not file.is_file():
        trials = home / "tuning"
        more = f" The record of its `tune` is '{trials}'." if (trials / "mlflow.db").is_file() else ""
        raise UserError(
            f"'{home}' holds no record: it has no file mlflow.db. Give the folder that is MCR_BENCH_HOME on the "
            f"other machine, by default 'results' of its working folder.{more}"
        )
    yield Home(home, file, patience)


class OfRecord:
    """The record of this machine, wherever its store is."""

    def __init__(self, record: Record) -> None:
        self.name, self.home = "the record", record.home
        file, patience = database_file(record.uri), record.turns.patience
        self._file = file
        self._reader: Reader = SqliteReader(file, patience) if file else SearchReader(lambda: record.client)
        self._store: _Store = (
            Files(file, Places(record.home, file.parent.resolve()), patience) if file else Server(lambda: record.client)
        )

    def runs(self) -> list[StoredRun]:
        with _read_from(self._file):
            return self._reader.read()

    def whole(self, run: StoredRun) -> WholeRun:
        return _whole(self._store, run)

    def content(self, run: StoredRun, file: RunFile) -> bytes:
        return self._store.content(run, file.name, file.sha256)


class Files:
    """Curves and files of the runs of a database on this machine."""

    def __init__(self, file: Path, places: Places, patience: Patience) -> None:
        self._file, self._reader, self._places = file, SqliteReader(file, patience), places

    def points(self, run: StoredRun) -> dict[str, list[Point]]:
        curves: dict[str, list[Point]] = {}
        nothing: list[tuple[str, int, float | None, int]] = []
        with _read_from(self._file):
            rows = self._reader.query(lambda connection: connection.execute(POINTS, [run.run_id]).fetchall(), nothing)
        for key, step, value, when in rows:
            curves.setdefault(key, []).append(point_of(key, step, nan if value is None else value, when))
        return curves

    def names(self, run: StoredRun) -> list[str]:
        folder = self._folder(run)
        paths = [Path(inner, name) for inner, _, names in os.walk(folder, onerror=_refuse) for name in names]
        return sorted(
            path.relative_to(folder).as_posix()
            for path in paths
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
        )

    def content(self, run: StoredRun, name: str, expected: str) -> bytes:
        return content_of(self._folder(run) / name, expected)

    def _folder(self, run: StoredRun) -> Path:
        folder = local_path(self._places.readable(run.artifacts))
        if folder is None:
            raise OSError(
                "its files are not on this machine. Where a server keeps them: start it, and `mcr-bench export "
                "--tracking-uri` writes them to an archive"
            )
        return folder


class Server:
    """Curves and files of the runs of a store that only MLflow reaches."""

    def __init__(self, client: "Callable[[], MlflowClient]") -> None:
        self._client = client

    def points(self, run: StoredRun) -> dict[str, list[Point]]:
        client = self._client()
        curves = {name: client.get_metric_history(run.run_id, name) for name in run.metrics}
        return {
            name: sorted(Point(m.step, m.value, m.timestamp) for m in curve) for name, curve in sorted(curves.items())
        }

    def names(self, run: StoredRun) -> list[str]:
        return sorted(self._below(run.run_id, None))

    def content(self, run: StoredRun, name: str, expected: str) -> bytes:
        with TemporaryDirectory() as folder:
            return content_of(Path(self._client().download_artifacts(run.run_id, name, folder)), expected)

    def _below(self, run_id: str, folder: str | None) -> Iterator[str]:
        for entry in self._client().list_artifacts(run_id, folder):
            if entry.is_dir:
                yield from self._below(run_id, entry.path)
            else:
                yield entry.path


def movable(runs: Sequence[StoredRun]) -> tuple[list[StoredRun], int, list[str]]:
    """The newest finished run of each key; how many keys have only unfinished ones; and why others are left out."""
    chosen, unfinished, why = [], 0, []
    for group in by_key(runs):
        made = [row_or_why(run) for run in group]
        readable = [run for run, row in zip(group, made, strict=True) if isinstance(row, RunRow)]
        if not group[0].finished:
            unfinished += 1
        elif not KEY.fullmatch(group[0].tags.get("key", "")):
            why.append(f"run {group[0].run_id}: its tag 'key' is not that of a run")
        elif readable:
            chosen.append(readable[0])
        else:
            why += [row.text for row in made if not isinstance(row, RunRow)]
    return chosen, unfinished, why


def trained_as(run: StoredRun) -> str:
    """The name of a run in the record in which it was trained."""
    return run.tags.get(MOVED_FROM) or run.run_id


@contextmanager
def _read_from(file: Path | None) -> Iterator[None]:
    """Inside the block, an error of SQLite becomes a UserError that names the database."""
    try:
        yield
    except UnknownVersion as error:
        raise UserError(
            f"the record in '{file}' cannot be read: {one_line(str(error))}. It is of another version of MLflow: "
            "`mlflow db upgrade` raises an older one; for a newer one install a newer mcr-bench."
        ) from error
    except sqlite3.Error as error:
        raise UserError(
            f"the record in '{file}' cannot be read: {one_line(str(error))}. Give a home that you may read and that "
            "is whole, such as a copy of it."
        ) from error


def _whole(store: _Store, run: StoredRun) -> WholeRun:
    sums = run.files.checksums
    contents = {name: store.content(run, name, sums.get(name, "")) for name in store.names(run)}
    return require_movable(
        WholeRun(
            key=run.tags["key"],
            run_id=trained_as(run),
            name=run.tags.get(RUN_NAME, ""),
            started=run.started,
            ended=run.ended or run.started,
            params=run.params,
            tags={k: v for k, v in run.tags.items() if not k.startswith(OF_MLFLOW) and k != MOVED_FROM},
            metrics=store.points(run),
            files=[RunFile(name, len(content), checksum(content)) for name, content in contents.items()],
        )
    )


def _refuse(error: OSError) -> None:
    """A folder that is missing has no files; of one that may not be read nobody knows which ones."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
