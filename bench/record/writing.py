"""How a record is written: directly, where it is a file on this machine; `RemoteWriting` is the other way."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mcr_bench.bench.printable import in_line
from mcr_bench.bench.record.files.predictions import PREDICTIONS
from mcr_bench.bench.record.outbox.entries import Ending, Opening
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.runs.events import EpochDone

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

FLUSH_SECONDS = 10.0


class Writing(Protocol):
    """Where the record sends what runs tell; `Record` says what each call does."""

    def start(self, opening: Opening) -> str | None: ...
    def log(self, event: EpochDone) -> None: ...
    def flush_if_due(self) -> None: ...
    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> None: ...
    def tag(self, run_id: str, name: str, text: str) -> None: ...
    def deliver_owed(self) -> None: ...
    def settle(self) -> dict[str, str]: ...
    def leave(self) -> None: ...


def opening_of(spec: "RunSpec", again: bool, attempt: str = "") -> Opening:
    """The opening of a training that begins now."""
    title, bracket, overrides = spec.label.partition(" [")  # the UI cuts long names: differences come first
    name = f"{title}, seed {spec.seed}, fold {spec.fold}{bracket}{overrides}"
    return Opening(spec.key, spec.dataset, in_line(name), spec.params(), spec.tags(), again, time.time(), attempt)


class DirectWriting:
    """Writes at once, and epochs every ten seconds.

    keep: takes the id of a finished run, the content of its predictions, and their place on this machine.
    """

    def __init__(self, writer: Writer, keep: Callable[[str, bytes, Path | None], object]) -> None:
        self._writer, self._keep_scores, self._flushed = writer, keep, time.monotonic()

    def start(self, opening: Opening) -> str | None:
        return self._writer.start(opening)

    def log(self, event: EpochDone) -> None:
        self._writer.log(event)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> None:
        written = self._writer.end(key, ending, paths)
        if PREDICTIONS in written.files:
            self._keep_scores(written.run_id, *written.files[PREDICTIONS])

    def tag(self, run_id: str, name: str, text: str) -> None:
        self._writer.tag(run_id, name, text)

    def deliver_owed(self) -> None:
        """Nothing is owed to a file."""

    def settle(self) -> dict[str, str]:
        return {}

    def leave(self) -> None:
        """Everything is written."""
