"""What is read from the predictions of runs: whole tables, scores per sample, and the floor of earlier versions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.files.artifacts import Artifact, Artifacts, Stored
from mcr_bench.bench.record.files.lost import Lost, told

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

    from mcr_bench.bench.record.files.samples import Samples

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Predictions:
    """Reads the predictions of runs; those that are missing or damaged are left out, and noted once.

    client: gives the MLflow client, for files on other machines.
    known: gives, for run ids, what the record says of their files, as far as it is known without MLflow.
    readable: gives the address to read from for a stored address.
    cache: the file in which scores are kept.
    lost: takes what could not be read.
    """

    client: "Callable[[], MlflowClient]"
    known: Callable[[Iterable[str]], Mapping[str, Stored]]
    readable: Callable[[str], str]
    cache: Path
    lost: Lost

    def table(self, run_id: str) -> "pd.DataFrame":
        """One row per sample; UserError if they cannot be read."""
        from pyarrow import ArrowException

        from mcr_bench.bench.record.files.samples import opened

        try:
            with self.finder([run_id]) as find:
                table: pd.DataFrame = opened(find(run_id, PREDICTIONS).content()).read().to_pandas()
            return table
        except (OSError, ValueError, ArrowException) as error:
            raise UserError(f"run {run_id}: {told(PREDICTIONS, error)}") from error

    def samples(self, run_ids: Iterable[str]) -> "dict[str, Samples]":
        """Run id -> scores of its test samples; runs without readable predictions are left out."""
        from mcr_bench.bench.record.files.samples import read_samples

        wanted = list(run_ids)
        with self._of(wanted) as find:
            return read_samples(wanted, find, self.cache, self._lost)

    def floors(self, run_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Run id -> metric -> score of a constant on its test part; runs without readable ones are left out."""
        from mcr_bench.bench.record.files.floors import read_floors

        wanted = list(run_ids)
        with self._of(wanted) as find:
            return read_floors(wanted, find, self._lost)

    def keep(self, run_id: str, content: bytes, place: Path | None) -> None:
        """Keep the scores of a run that has just finished. content: its predictions; place: the file, if it is here."""
        from mcr_bench.bench.record.files.samples import keep_samples

        keep_samples(run_id, Artifact(place, final=True), content, self.cache)

    @contextmanager
    def finder(self, run_ids: Iterable[str]) -> Iterator[Callable[[str, str], Artifact]]:
        """Inside the block the given function finds a file of a run; downloads are deleted at its end."""
        with ExitStack() as stack:

            @cache
            def folder() -> Path:
                return Path(stack.enter_context(TemporaryDirectory()))

            artifacts = Artifacts(self.client, self.known(run_ids), self.readable, folder)
            yield artifacts.find

    @contextmanager
    def _of(self, run_ids: Iterable[str]) -> Iterator[Callable[[str], Artifact]]:
        with self.finder(run_ids) as find:
            yield partial(_predictions, find)

    def _lost(self, run_id: str, error: Exception) -> None:
        self.lost.add(run_id, PREDICTIONS, error)


def _predictions(find: Callable[[str, str], Artifact], run_id: str) -> Artifact:
    return find(run_id, PREDICTIONS)
