"""Finds the files of a run: by their path where they lie on this machine, by MLflow's download where they do not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcr_bench.bench.record.places import local_path

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


class Artifact(NamedTuple):
    """final: the run is finished, so that this file will never change."""

    path: Path
    final: bool


@dataclass(frozen=True)
class Artifacts:
    """known: run -> address of its artifacts, and whether it is finished; MLflow is asked about other runs.

    readable: the address as stored -> the one to read from.
    """

    client: "Callable[[], MlflowClient]"
    known: Mapping[str, tuple[str, bool]]
    readable: Callable[[str], str]

    def find(self, run_id: str, name: str, folder: Path) -> Artifact:
        """File `name` of a run, where need be downloaded into `folder`. OSError where there is none."""
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
