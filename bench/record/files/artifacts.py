"""Find the files of a run: by their path if they are on this machine, otherwise by a download through MLflow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcr_bench.bench.record.files.places import local_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


class Artifact(NamedTuple):
    """A file of a run.

    path: where it is on this machine.
    final: whether the run is finished, so that the file will not change.
    """

    path: Path
    final: bool


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of the runs of a record.

    client: gives the MLflow client, which is needed for runs that are not in `known`.
    known: run id -> the address of its artifacts, and whether it is finished.
    readable: gives the address to read from for a stored address.
    """

    client: "Callable[[], MlflowClient]"
    known: Mapping[str, tuple[str, bool]]
    readable: Callable[[str], str]

    def find(self, run_id: str, name: str, folder: Path) -> Artifact:
        """The file `name` of a run, downloaded into `folder` if it is on another machine. OSError if it is missing."""
        address, final = self.known.get(run_id, ("", False))
        if (here := local_path(self.readable(address))) is not None:
            return Artifact(here / name, final)
        from mlflow.exceptions import MlflowException

        try:
            info = self.client().get_run(run_id).info
            final = info.status == "FINISHED"
            if (known := self.readable(info.artifact_uri)) != info.artifact_uri:
                return Artifact(Path(str(local_path(known))) / name, final)
            own = folder / run_id
            own.mkdir(parents=True, exist_ok=True)
            return Artifact(Path(self.client().download_artifacts(run_id, name, str(own))), final)
        except MlflowException as error:
            raise FileNotFoundError(str(error)) from error
