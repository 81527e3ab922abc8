"""What is read from the predictions of runs: whole tables, scores per sample, and the floor of earlier versions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.files.artifacts import PREDICTIONS, SCORES, Artifact, Artifacts, Stored
from mcr_bench.bench.record.files.lost import Lost, told

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.tracking import MlflowClient

    from mcr_bench.bench.record.files.samples import Samples


@dataclass(frozen=True)
class Predictions:
    """Reads the predictions and scores of runs; those that are missing or damaged are left out, and noted once.

    client: gives the MLflow client, for files on other machines.
    known: gives, for run ids, what the record says of their files, as far as it is known without MLflow.
    readable: gives the address to read from for a stored address.
    cache: the file in which scores are kept that took long to get.
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

        from mcr_bench.bench.record.files.scores import opened

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
        with self.finder(wanted) as find:
            return read_samples(wanted, find, self.cache, self._lost)

    def floors(self, run_ids: Iterable[str]) -> dict[str, dict[str, float]]:
        """Run id -> metric -> score of a constant on its test part; runs without readable ones are left out."""
        from mcr_bench.bench.record.files.floors import read_floors

        wanted = list(run_ids)
        with self.finder(wanted) as find:
            return read_floors(wanted, lambda run_id: find(run_id, PREDICTIONS), self._lost)

    @contextmanager
    def finder(self, run_ids: Iterable[str]) -> Iterator[Callable[[str, str], Artifact]]:
        """Inside the block the given function finds a file of a run; downloads are deleted at its end."""
        with ExitStack() as stack:

            @cache
            def folder() -> Path:
                return Path(stack.enter_context(TemporaryDirectory()))

            artifacts = Artifacts(self.client, self.known(run_ids), self.readable, folder)
            yield artifacts.find

    def _lost(self, run_id: str, error: Exception) -> None:
        self.lost.add(run_id, PREDICTIONS, error)


def with_scores(artifacts: Iterable[Path]) -> list[Path]:
    """The files of a finished run, and that of its scores, made beside its predictions where these are among them.

    Predictions that cannot be read have none. OSError where the file cannot be written.
    """
    files = list(artifacts)
    predictions = next((path for path in files if path.name == PREDICTIONS), None)
    if predictions is None:
        return files
    from mcr_bench.bench.record.files.scores import UNREADABLE, scores_of_predictions, write_scores

    try:
        scores = scores_of_predictions(predictions.read_bytes(), {})
    except (OSError, *UNREADABLE):
        return files
    write_scores(predictions.with_name(SCORES), scores)
    return [*files, predictions.with_name(SCORES)]
