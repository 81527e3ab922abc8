"""The files of a record, each read and compared with its checksum: what `results --verify` tells."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcr_bench.bench.record.files.artifacts import PREDICTIONS, Artifact
from mcr_bench.bench.record.files.lost import state_of
from mcr_bench.bench.record.files.predictions import Predictions
from mcr_bench.bench.record.files.threads import in_threads
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import StoredRun

State = Literal["whole", "outside", "damaged", "missing", "unreadable", "unverifiable"]
BAD: tuple[State, ...] = ("damaged", "missing", "unreadable")


@dataclass(frozen=True)
class Checked:
    """A file of a run.

    run_id: the run's name in MLflow.
    run: how notes call the run.
    file: the name of the file.
    state: whole, outside (whole, but not in the home of the record: a copy of the home lacks it), damaged (not what was
        recorded), missing, unreadable, or unverifiable: there, but without a checksum.
    reason: why it is not whole.
    replaced: whether a later run of the same key is finished, so that nothing reads this file.
    """

    run_id: str
    run: str
    file: str
    state: State
    reason: str = ""
    replaced: bool = False

    @property
    def bad(self) -> bool:
        """Whether something that is read is lost."""
        return self.state in BAD and not self.replaced

    @property
    def in_order(self) -> bool:
        """Whether nothing that is read is lost, or would be with another home."""
        return self.replaced or self.state not in (*BAD, "outside")


def check_files(
    stored: Iterable[StoredRun],
    rows: Collection[RunRow],
    names: Mapping[str, str],
    files: Predictions,
    inside: Callable[[Path], bool],
) -> list[Checked]:
    """The files of these runs: those with a checksum, and the predictions of finished runs.

    inside: whether a file is where the record keeps its files.
    """
    shown = {row.key: row.run_id for row in rows if row.finished}
    wanted = [(run, name) for run in stored for name in _files(run)]
    with files.finder([run.run_id for run, _ in wanted]) as find:
        return in_threads(lambda one: _checked(*one, shown, names, find, inside), wanted)


def _files(run: StoredRun) -> list[str]:
    return sorted({*run.files.checksums, *([PREDICTIONS] if run.finished else [])})


def _checked(
    run: StoredRun,
    name: str,
    shown: Mapping[str, str],
    names: Mapping[str, str],
    find: Callable[[str, str], Artifact],
    inside: Callable[[Path], bool],
) -> Checked:
    replaced = shown.get(run.tags.get("key", ""), run.run_id) != run.run_id
    called = names.get(run.run_id) or run.tags.get("mlflow.runName") or "a run"
    state, reason = _state(find, run.run_id, name, inside)
    return Checked(run.run_id, called, name, state, reason, replaced)


def _state(
    find: Callable[[str, str], Artifact], run_id: str, name: str, inside: Callable[[Path], bool]
) -> tuple[State, str]:
    try:
        artifact = find(run_id, name)
        artifact.content()
    except OSError as error:
        return state_of(error), str(error)
    if artifact.path is not None and not inside(artifact.path):
        return "outside", f"it is in {artifact.path.parent} alone. Copy the folder artifacts of that home into this one"
    return ("whole", "") if artifact.checksum else ("unverifiable", "recorded by a version without checksums")
