"""Sends shipments to a server in a thread of its own, and knows whether the server answers.

Whoever writes here never waits for the server. A shipment that fails is sent again from its beginning: the courier asks
the server what it has and leaves nothing there twice.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from mcr_bench.bench.core.faults.full_disk import full_disk
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.outbox.entries import KILLED, Ending, Opening
from mcr_bench.bench.record.outbox.journal import Damaged
from mcr_bench.bench.record.outbox.shipment import Shipment, waiting
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.bench.runs.words import counted

FLUSH_SECONDS = 10.0  # epochs are sent together, as often as this
PULSE_SECONDS = 2.0
RETRY_SECONDS = 2.0
POLL_SECONDS = 0.1
TOLD_AFTER = 3.0  # seconds of waiting at the end
PULSE = "pulse"
CANNOT_KEEP = "what runs have to tell the server cannot be kept in {}"
REMEDY = "Make room there, or set MCR_BENCH_HOME to another folder."
IN_MEMORY = "An epoch of a run cannot be kept in {folder}: {reason}. It is kept in memory alone."
DOWN = (
    "{server} does not answer: {reason}. Training goes on; what it has to tell is kept in {folder} and delivered when "
    "the server is back. After the last training this command waits {wait:g} s for it (--server-wait) and then ends."
)
WAITING = (
    "{server} does not have everything of {runs} yet. This command waits until it has; if the server does not answer, "
    "at most {wait:g} s (--server-wait). What is missing then is kept for the next command."
)
UP = "{server} answers again, and has all that was kept for it."


class Courier(Protocol):
    """Who brings entries to the server. Each call may raise any error; `start` after `forget` begins a run anew."""

    def start(self, opening: Opening) -> str | None: ...
    def log(self, event: EpochDone) -> None: ...
    def flush(self, key: str) -> None: ...
    def end(self, key: str, ending: Ending, paths: list[Path]) -> str: ...
    def forget(self, key: str) -> None: ...
    def remove_doubles(self, opening: Opening, keep: str) -> None: ...


@dataclass(frozen=True)
class Line:
    """The line to a server.

    server: how sentences name it, such as "The tracking server at http://host:5000".
    courier: brings entries there.
    probe: raises an error if the server does not answer soon.
    is_refusal: whether an error means that the server is there and does not take what it was given.
    reason: an error in few words.
    """

    server: str
    courier: Courier
    probe: Callable[[], object]
    is_refusal: Callable[[BaseException], bool]
    reason: Callable[[BaseException], str]


@dataclass(eq=False)
class Outbox:
    """What a command has to tell a server.

    folder: where it is kept.
    line: how the server is reached.
    wait: for how many seconds `settle` waits for it.
    refused: key -> why the server has not taken the run.
    """

    folder: Path
    line: Line
    wait: float
    refused: dict[str, str] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _last: str = ""
    _shipments: list[Shipment] = field(default_factory=list)
    _open: dict[str, Shipment] = field(default_factory=dict)
    _troubles: dict[str, str] = field(default_factory=dict)
    _wake: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _returned: threading.Event = field(default_factory=threading.Event)  # the server, after an outage
    _told_down: bool = False
    _moved: float = 0.0

    def start(self, opening: Opening) -> None:
        """A training begins."""
        try:
            shipment = Shipment.begin(self.folder, opening)
        except OSError as error:
            if full_disk(error):
                raise
            raise UserError(f"{CANNOT_KEEP.format(self.folder)}: {error.strerror}. {REMEDY}") from error
        self._open[opening.key] = shipment
        self._send([shipment])

    def log(self, event: EpochDone) -> None:
        """An epoch of a run has ended. It is kept in memory alone where the disk does not take it."""
        shipment = self._open[event.key]
        try:
            shipment.add(event)
        except OSError as error:
            shipment.entries.append(event)
            self._tell(IN_MEMORY.format(folder=self.folder, reason=error.strerror))

    def end(self, key: str, ending: Ending, paths: Iterable[Path] = ()) -> None:
        """A training has ended; its files may be removed when this returns. OSError if they cannot be kept."""
        shipment = self._open[key]
        shipment.add(replace(ending, artifacts=shipment.keep(paths)))
        del self._open[key]
        self._wake.set()

    def collect(self) -> int:
        """Take over what ended commands have left; returns of how many trainings it is."""
        shipments, problems = waiting(self.folder)
        self._lines += problems
        for shipment in shipments:
            if shipment.ending is None:  # its command was killed
                shipment.add(Ending(KILLED, time.time()))
        self._send(shipments)
        return len(shipments)

    @property
    def owed(self) -> int:
        """How many trainings have ended and are not delivered."""
        return sum(one.ending is not None for one in self._shipments)

    @property
    def trouble(self) -> str:
        """Why the server cannot be reached; "" while it can."""
        return next(iter(dict(self._troubles).values()), "")

    def news(self) -> list[str]:
        """What has happened since this was last asked, in sentences."""
        reason, server = self.trouble, self.line.server
        if bool(reason) != self._told_down and (reason or not self._behind):
            self._told_down = bool(reason)
            told = DOWN if reason else UP
            self._tell(told.format(server=server, reason=reason, folder=self.folder, wait=self.wait))
        news, self._lines = self._lines, []
        return news

    @property
    def _behind(self) -> bool:
        return any(one.sent < len(one.entries) for one in self._shipments)

    def settle(self, turn: Callable[[], object]) -> bool:
        """Wait until all that has ended is delivered; `turn` is called meanwhile.

        False if the server could not be reached for `wait` seconds.
        """
        self._moved = began = time.monotonic()
        told = False
        if self.owed:
            self._send()
        while owed := self.owed:
            if not told and time.monotonic() - began > TOLD_AFTER:
                told = True
                self._tell(WAITING.format(server=self.line.server, runs=counted(owed), wait=self.wait))
            turn()
            if self.trouble and time.monotonic() - self._moved > self.wait:
                return False
            time.sleep(POLL_SECONDS)
        turn()
        return True

    def flush_soon(self, seconds: float) -> None:
        """Give what has ended these seconds to be delivered, if the server can be reached."""
        self._wake.set()
        until = time.monotonic() + seconds
        while self.owed and not self.trouble and time.monotonic() < until:
            time.sleep(POLL_SECONDS / 2)

    def stop(self, seconds: float = 0.0) -> None:
        """End the threads, and wait so long for them; what begins later starts them again."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(seconds)
        self._threads.clear()
        self._troubles.clear()

    def _send(self, shipments: Iterable[Shipment] = ()) -> None:
        self._shipments += shipments
        if not self._threads:
            self._stopped = threading.Event()
            for work in (self._deliver_all, self._feel_pulse):
                self._threads.append(threading.Thread(target=work, args=(self._stopped,), daemon=True))
                self._threads[-1].start()
        self._wake.set()

    def _deliver_all(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            self._wake.wait(RETRY_SECONDS if self._troubles else FLUSH_SECONDS)
            self._wake.clear()
            if self._returned.is_set():  # it may have come back with an older state: what it has is asked anew
                self._returned.clear()
                for shipment in [one for one in self._shipments if one.opened]:
                    self._begin_anew(shipment)
            for shipment in list(self._shipments):
                if stopped.is_set() or (not self._try(shipment) and PULSE in self._troubles):
                    break  # the others would wait as long
            if self._troubles:
                stopped.wait(RETRY_SECONDS)

    def _feel_pulse(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            reason = next(self._errors(self.line.probe), None)
            if reason is None and PULSE in self._troubles:
                self._returned.set()
            self._note(PULSE, reason)
            stopped.wait(PULSE_SECONDS)

    def _errors(self, call: Callable[[], object]) -> Iterator[str]:
        try:
            call()
        except Exception as error:
            yield self.line.reason(error)

    def _try(self, shipment: Shipment) -> bool:
        """Deliver what is new of a shipment; False if the server cannot be reached."""
        name = shipment.path.name
        try:
            self._deliver(shipment)
        except Exception as error:
            self._begin_anew(shipment)
            if not (isinstance(error, Damaged) or self.line.is_refusal(error)):
                self._note(name, self.line.reason(error))
                return False
            self._refuse(shipment, self.line.reason(error))
        self._note(name, None)
        return True

    def _deliver(self, shipment: Shipment) -> None:
        courier, key = self.line.courier, shipment.opening.key
        if not shipment.opened and courier.start(shipment.opening) is None:
            if shipment.ending is not None:  # another command has finished the same run
                self._done(shipment)
            return
        shipment.opened = True
        new = shipment.entries[shipment.sent :]
        for entry in new:
            if isinstance(entry, EpochDone):
                courier.log(entry)
            elif isinstance(entry, Ending):
                shipment.check_files()
                run_id = courier.end(key, entry, shipment.files)
                if shipment.troubled:
                    courier.remove_doubles(shipment.opening, run_id)
                return self._done(shipment)
        if new:
            courier.flush(key)
            shipment.sent += len(new)
            self._moved = time.monotonic()

    def _begin_anew(self, shipment: Shipment) -> None:
        self.line.courier.forget(shipment.opening.key)
        shipment.opened, shipment.sent, shipment.troubled = False, 0, True

    def _done(self, shipment: Shipment) -> None:
        self._shipments.remove(shipment)
        self._moved = time.monotonic()
        with suppress(OSError):  # it is delivered; the next command sees that it is
            shipment.discard()

    def _refuse(self, shipment: Shipment, reason: str) -> None:
        """Give up a training that the server does not take from its beginning either, as when its run was deleted."""
        shipment.refusals += 1
        if shipment.ending is None or shipment.refusals == 1:
            return self._wake.set()
        self._shipments.remove(shipment)
        self.refused[shipment.opening.key] = f"{reason}; what it has to tell is kept in {shipment.set_aside()}"

    def _tell(self, line: str) -> None:
        """Tell a line, but not twice in a row."""
        if line != self._last:
            self._lines.append(line)
            self._last = line

    def _note(self, what: str, reason: str | None) -> None:
        """Note whether the pulse, or the delivery of a shipment, meets trouble."""
        if reason is None:
            self._troubles.pop(what, None)
        else:
            self._troubles[what] = reason
