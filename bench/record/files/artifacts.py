"""Find the files of a run: by their path if they are on this machine, otherwise by a download through MLflow."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.files.checksums import checksums_in, content_of
from mcr_bench.bench.record.files.places import local_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREDICTIONS = "predictions.parquet"
SCORES = "scores.parquet"  # what comparisons take of the predictions, made when a run is finished


@dataclass(frozen=True)
class Stored:
    """What the record says of the files of a run.

    address: the folder that holds them.
    finished: whether the run is finished, so that they will not change.
    checksums: name of a file -> its checksum; runs of earlier versions have none.
    """

    address: str
    finished: bool
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A file of a run.

    name: its name in the record.
    path: where it is on this machine; None if it is elsewhere.
    final: whether the run is finished, so that the file will not change.
    checksum: the one on record, "" for none.
    fetch: downloads a file that is elsewhere, and gives the copy's path; OSError where that is not possible.
    """

    name: str
    path: Path | None
    final: bool
    checksum: str = ""
    fetch: Callable[[], Path] | None = None

    @property
    def stamp(self) -> str:
        """Size and time of change of a file on this machine, by which a change is noticed; OSError if it is missing."""
        if self.path is None:
            return ""
        state = self.path.stat()
        return f"{state.st_size} {state.st_mtime_ns}"

    def content(self) -> bytes:
        """Its content; OSError where it cannot be read, `Damaged` where it is not what was recorded."""
        path = self.fetch() if self.path is None and self.fetch is not None else self.path
        if path is None:
            raise FileNotFoundError("the run has no such file")
        return content_of(path, self.checksum)


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of the runs of a record.

    client: gives the MLflow client, which is needed for runs that are not in `known`, and for downloads.
    known: run id -> what the record says of its files.
    readable: gives the address to read from for a stored address.
    folder: gives the folder for copies of files on other machines.
    """

    client: "Callable[[], MlflowClient]"
    known: Mapping[str, Stored]
    readable: Callable[[str], str]
    folder: Callable[[], Path]

    def find(self, run_id: str, name: str) -> Artifact:
        """The file `name` of a run; OSError if there is no such run."""
        stored = self.known.get(run_id) or self._asked(run_id)
        here = local_path(self.readable(stored.address))
        place, fetch = (here / name, None) if here is not None else (None, lambda: self._fetch(run_id, name))
        return Artifact(name, place, stored.finished, stored.checksums.get(name, ""), fetch)

    def _asked(self, run_id: str) -> Stored:
        from mlflow.exceptions import MlflowException

        try:
            run = self.client().get_run(run_id)
        except MlflowException as error:
            raise FileNotFoundError(str(error)) from error
        return Stored(run.info.artifact_uri, run.info.status == "FINISHED", checksums_in(run.data.tags))

    def _fetch(self, run_id: str, name: str) -> Path:
        own = self.folder() / run_id
        own.mkdir(parents=True, exist_ok=True)
        try:
            return Path(self.client().download_artifacts(run_id, name, str(own)))
        except UserError:  # a server is missing: nothing is said of the file
            raise
        except Exception as error:  # whatever MLflow, and the library of the place that is named, raise
            raise self._reason(run_id, name, error) from error

    def _reason(self, run_id: str, name: str, error: Exception) -> OSError:
        """Why a file was not downloaded: it is missing, or the place where it lies does not give it."""
        try:
            names: Iterable[str] = [file.path for file in self.client().list_artifacts(run_id)]
        except Exception:  # whatever the store's library raises: the first error says why
            names = [name]
        return OSError(f"it cannot be fetched: {error}") if name in names else FileNotFoundError(str(error))
