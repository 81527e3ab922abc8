"""How a record on a server is written: into an outbox on this machine's disk, which a thread empties."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.core.waiting import within
from mcr_bench.bench.errors import Unavailable
from mcr_bench.bench.printable import masked
from mcr_bench.bench.record.database.turns import Turns
from mcr_bench.bench.record.files.places import Places
from mcr_bench.bench.record.outbox.entries import Ending, Opening
from mcr_bench.bench.record.outbox.outbox import Line, Outbox
from mcr_bench.bench.record.outbox.server import (
    OPENING_SECONDS,
    PROBE_SECONDS,
    Bounded,
    bounded_call,
    impatient,
    is_refusal,
    reason_of,
)
from mcr_bench.bench.record.outbox.shipment import journals
from mcr_bench.bench.record.store import SearchReader, import_client
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.words import counted

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LEAVE_SECONDS = 1.0
ADDRESS = "address.txt"


class RemoteWriting:
    """Writes to a store that may not answer; see `Writing`.

    uri: the tracking URI.
    home: the folder that holds the outboxes, one for each server.
    note: takes each line that the user must know.
    wait: how many seconds to wait at the end for a server that does not answer.
    """

    def __init__(self, uri: str, home: Path, note: Callable[[str], object], wait: float) -> None:
        self._uri, self._home, self._note, self._wait = uri, home, note, wait
        self._address = masked(uri).rstrip("/")
        self._folder = home / "outbox" / sha256(self._address.encode()).hexdigest()[:12]

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client; its calls end in time, with Unavailable where the server is missing."""
        return cast("MlflowClient", Bounded(self._raw, partial(bounded_call, self._uri)))

    def start(self, opening: Opening) -> str | None:
        if not opening.again and not self._outbox.trouble and self._is_finished(opening):
            return None
        if not (self._folder / ADDRESS).exists():
            write_whole(self._folder / ADDRESS, self._address)
        self._outbox.start(opening)
        return ""

    def log(self, event: EpochDone) -> None:
        self._outbox.log(event)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Tell what is new; the outbox writes by itself."""
        for line in self._outbox.news():
            self._note(line)

    def end(self, key: str, ending: Ending, paths: Sequence[Path] = ()) -> None:
        self._outbox.end(key, ending, paths)

    def tag(self, run_id: str, name: str, text: str) -> None:
        self.client.set_tag(run_id, name, text)

    def deliver_owed(self) -> None:
        self._tell_of_others()
        if count := self._outbox.collect():
            self._note(f"The tracking server at {self._address} gets now what {counted(count)} had to tell it before.")
        for key, reason in self.settle().items():
            self._note(f"left out: the run with the key {key}: {reason}")

    def refused(self) -> dict[str, str]:
        """None yet: whatever a server does not take is sent again as a new run, and told of by `settle`."""
        return {}

    def settle(self) -> dict[str, str]:
        if not self._outbox.settle(self.flush_if_due):
            raise Unavailable(
                f"the tracking server at {self._address} did not answer for {self._wait:g} s "
                f"({self._outbox.trouble}). {self._kept()}"
            )
        self._outbox.stop()
        return self._outbox.refused

    def leave(self) -> None:
        self._outbox.flush_soon(LEAVE_SECONDS)
        if self._outbox.owed:
            self._note(f"The tracking server at {self._address} does not have everything yet. {self._kept()}")

    @cached_property
    def _raw(self) -> "MlflowClient":
        impatient()
        make = import_client()
        seconds = OPENING_SECONDS["http" if self._uri.startswith("http") else "database"]
        return bounded_call(self._uri, seconds, partial(_reached, make, self._uri))

    @cached_property
    def _outbox(self) -> Outbox:
        client = cast("MlflowClient", Bounded(self._raw))  # what its calls raise says whether to send again
        reader = SearchReader(lambda: client)
        places = Places(self._home, self._home)
        writer = Writer(lambda: client, reader.read, reader.latest, Turns(), self._home, places)
        probe = partial(within, PROBE_SECONDS, partial(self._raw.search_experiments, max_results=1))
        server = f"The tracking server at {self._address}"
        return Outbox(self._folder, Line(server, writer, probe, is_refusal, reason_of), self._wait)

    def _is_finished(self, opening: Opening) -> bool:
        """Whether another command has finished the run; where the server does not answer, it is trained."""
        ask = partial(SearchReader(lambda: self._raw).read, opening.dataset, [opening.key])
        with suppress(Unavailable):
            return any(run.finished for run in bounded_call(self._uri, PROBE_SECONDS, ask))
        return False

    def _kept(self) -> str:
        return (
            f"What {counted(self._outbox.owed)} had to tell it is kept in {self._folder}: the next `mcr-bench run` "
            "with this record delivers it, and trains nothing of that again."
        )

    def _tell_of_others(self) -> None:
        """Tell which other servers are owed something, as their addresses may have changed."""
        for folder in (self._home / "outbox").glob("*/"):
            if folder != self._folder and (count := len(journals(folder))):
                self._note(f"Still waiting for the record at {_address(folder)}: {counted(count)} in {folder}.")


def new_attempt() -> str:
    """A text that no other training has."""
    return uuid4().hex[:12]


def _address(folder: Path) -> str:
    """The address of the server that an outbox is for, as far as its file can be read."""
    try:
        return (folder / ADDRESS).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"an address that cannot be read ({error.strerror})"


def _reached(make: "Callable[[str], MlflowClient]", uri: str) -> "MlflowClient":
    client = make(uri)
    client.search_experiments(max_results=1)
    return client
