"""How a record is written: directly, where it is a file on this machine; `RemoteWriting` is the other way."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mcr_bench.bench.core.faults.full_disk import full_disk
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.bench.printable import in_line
from mcr_bench.bench.record.outbox.entries import Ending, Opening
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.runs.events import EpochDone

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

FLUSH_SECONDS = 10.0
GONE = "its run was deleted from the record while it was trained. The same command trains it again"
NOT_TAKEN = "the record does not take what belongs to this run ({}). The same command tries it again"


class Refused(UserError):
    """The record does not take what belongs to one run; what it has of others is not concerned."""


class Writing(Protocol):
    """Where the record sends what runs tell; `Record` says what each call does."""

    def start(self, opening: Opening) -> str | None: ...
    def log(self, event: EpochDone) -> None: ...
    def flush_if_due(self) -> None: ...
    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> None: ...
    def tag(self, run_id: str, name: str, text: str) -> None: ...
    def deliver_owed(self) -> None: ...
    def refused(self) -> dict[str, str]: ...
    def settle(self) -> dict[str, str]: ...
    def leave(self) -> None: ...


def opening_of(spec: "RunSpec", again: bool, attempt: str = "") -> Opening:
    """The opening of a training that begins now."""
    title, bracket, overrides = spec.label.partition(" [")  # the UI cuts long names: differences come first
    name = f"{title}, seed {spec.seed}, fold {spec.fold}{bracket}{overrides}"
    return Opening(spec.key, spec.dataset, in_line(name), spec.params(), spec.tags(), again, time.time(), attempt)


class DirectWriting:
    """Writes at once, and epochs every ten seconds. `Refused` where a run is not taken."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._flushed = writer, time.monotonic()
        self._refused: dict[str, str] = {}

    def start(self, opening: Opening) -> str | None:
        with self._refusal_told(opening.key):
            return self._writer.start(opening)

    def log(self, event: EpochDone) -> None:
        self._writer.log(event)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for key in self._writer.keys:
                self._flush(key)
            self._flushed = time.monotonic()

    def refused(self) -> dict[str, str]:
        return dict(self._refused)

    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> None:
        self._refused.pop(key, None)
        with self._refusal_told(key):
            self._writer.end(key, ending, paths)

    def tag(self, run_id: str, name: str, text: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._writer.tag(run_id, name, text)
        except MlflowException:
            if not self._writer.is_gone(run_id):  # of one that was deleted meanwhile nobody needs the tag
                raise

    def deliver_owed(self) -> None:
        """Nothing is owed to a file."""

    def settle(self) -> dict[str, str]:
        return {}

    def leave(self) -> None:
        """Everything is written."""

    def _flush(self, key: str) -> None:
        """Write the epochs of a run, and remember why they are not taken: the caller may speak of another run."""
        try:
            with self._refusal_told(key):
                self._writer.flush(key)
        except Refused as error:
            self._refused[key] = str(error)

    @contextmanager
    def _refusal_told(self, key: str) -> Iterator[None]:
        """Inside the block, an error of MLflow's that is about a run becomes `Refused`."""
        try:
            yield
        except UserError:  # its words say all
            raise
        except Exception as error:
            from mlflow.exceptions import MlflowException

            if not isinstance(error, MlflowException) or full_disk(error):
                raise
            is_gone = self._writer.is_gone(self._writer.run_id(key))
            raise Refused(GONE if is_gone else NOT_TAKEN.format(quoted(error))) from error
