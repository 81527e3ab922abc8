"""Worker processes for their parent: each does one job at a time, is replaced when it dies, and stopped at the end."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from types import TracebackType
from typing import Generic, TypeVar

from mcr_bench.bench.core.faults.killed import memory_kills
from mcr_bench.bench.core.interrupts import deferred
from mcr_bench.bench.core.workers.processes import Start
from mcr_bench.bench.core.workers.serving import Pipe

GONE = 10.0  # seconds to wait for a killed process: one that waits for a dead disk ends only when that answers
ATTEMPTS = 2  # how often a job is given to a worker that dies of it: the first may have died of something else
Job = TypeVar("Job")
Event = TypeVar("Event")


@dataclass(frozen=True)
class Died:
    """The end of a job of which every worker has died: how the last worker ended.

    code: its `Process.exitcode`.
    silent: whether it had sent nothing, as a worker that cannot start.
    starved: whether the system has killed it, or another process meanwhile, because memory was short.
    """

    code: int
    silent: bool
    starved: bool = False

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, of a real-time one its number, as it has no name; '' if none did."""
        if self.code >= 0:
            return ""
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"

    @property
    def out_of_memory(self) -> bool:
        """Whether the system may have killed it for lack of memory."""
        return self.code == -signal.SIGKILL


class Worker(Generic[Job, Event]):
    """A worker process; `job` is the job that it is doing.

    place: where its jobs are to be done, in the words of who makes workers (a device). most: how many jobs it may
    be given, where it cannot take any number. patience: seconds that it has to end after a request,
    before it is killed.
    """

    def __init__(self, start: Start, place: str = "", most: int | None = None, patience: float = 0) -> None:
        self.place = place
        self.job: Job | None = None
        self._left, self._patience = most, patience
        self._silent, self._asked = True, False
        self._kills = memory_kills()
        self.pipe: Pipe
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = start(theirs)
        theirs.close()  # so that the pipe ends when the worker does

    @property
    def free(self) -> bool:
        """Whether it may be given a job."""
        return self.job is None and self._left != 0

    @property
    def spent(self) -> bool:
        """Whether it has done as many jobs as it may be given."""
        return self.job is None and self._left == 0

    def give(self, job: Job) -> None:
        """Give it this job."""
        self.job, self._kills = job, memory_kills()
        if self._left is not None:
            self._left -= 1
        with suppress(OSError):  # it died while idle: events() sees that
            self.pipe.send(job)

    def events(self) -> Iterator[Event | None]:
        """The events that it has sent, and None as the last one if it is dead.

        Its pipe may still be open then, if a process that a job has started holds it.
        """
        dead = not self.process.is_alive()
        try:
            while self.pipe.poll():
                event: Event = self.pipe.recv()
                self._silent = False
                yield event
        except (EOFError, OSError):  # also of an event that cannot be read: then the process lives, and has to end
            self.process.join(GONE)
            if self.process.is_alive():
                self.process.kill()
            dead = True
        if dead:
            yield None

    def death(self) -> Died:
        """How its process ended; waits for it."""
        self.process.join()
        code = self.process.exitcode or 0
        return Died(code, self._silent, code == -signal.SIGKILL and memory_kills() > self._kills)

    def ask_to_end(self) -> None:
        """Ask it to end: the first half of `stop`, for many workers at once."""
        if self._patience and not self._asked:
            self._asked = True
            self.process.terminate()

    def stop(self) -> None:
        """End the process; one that has time for it is first asked to end."""
        self.ask_to_end()
        if self._patience:
            self.process.join(self._patience)
        if self.process.is_alive():
            self.process.kill()
        self.process.join(GONE)
        self.pipe.close()


def ready(workers: Sequence[Worker[Job, Event]], timeout: float) -> list[Worker[Job, Event]]:
    """The workers that have sent an event or are dead; waits at most `timeout` seconds for one."""
    sending = wait([worker.pipe for worker in workers], timeout)
    return [worker for worker in workers if worker.pipe in sending or not worker.process.is_alive()]


class Pool(Generic[Job, Event]):
    """As many workers as there are makers, each started when it is needed. Leave the `with` block to stop them.

    is_last: whether an event is the last one of its job. A job whose worker dies is given to a fresh one, until it has
    had ATTEMPTS of them.
    """

    def __init__(self, makers: Sequence[Callable[[], Worker[Job, Event]]], is_last: Callable[[Event], bool]) -> None:
        self._makers, self._is_last = makers, is_last
        self._places: dict[Worker[Job, Event], int] = {}  # which maker has made each
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> "Pool[Job, Event]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with deferred():
            for worker in self._places:
                worker.ask_to_end()
            while self._places:
                self._places.popitem()[0].stop()

    @property
    def busy(self) -> bool:
        """Whether a worker has a job."""
        return any(worker.job is not None for worker in self._places)

    def start(self) -> None:
        """Start every worker now, so that all import what they need at the same time."""
        with deferred():
            for place in self._vacant():
                self._start(place)

    def free(self) -> Worker[Job, Event] | None:
        """A worker that may be given a job: one that runs, else a freshly started one; None where all are at work."""
        running = next((worker for worker in self._places if worker.free), None)
        vacant = self._vacant()
        return self._start(vacant[0]) if running is None and vacant else running

    def all_free(self) -> Iterator[Worker[Job, Event]]:
        """Every worker that may be given a job: first those that run, then freshly started ones."""
        yield from [worker for worker in self._places if worker.free]
        for place in self._vacant():
            yield self._start(place)

    def events(self, timeout: float) -> Iterator[tuple[Job, Event | Died]]:
        """What workers have sent since, each with its job, or that a job has ended all its workers.

        Waits at most `timeout` seconds for something.
        """
        for worker in ready(list(self._places), timeout):
            for event in worker.events():
                job = worker.job
                if event is None:
                    yield from self._bury(worker)
                elif job is not None:  # what follows the last event is nobody's
                    if self._is_last(event):
                        self._forget(worker, job)
                    yield job, event
            if worker.spent and self._places.pop(worker, None) is not None:
                worker.stop()

    def drop(self, job: Job) -> None:
        """End the worker that does this job, whatever it is doing, and give the job to nobody."""
        for worker in [worker for worker in self._places if worker.job is job]:
            self._forget(worker, job)
            del self._places[worker]
            worker.stop()

    def _forget(self, worker: Worker[Job, Event], job: Job) -> None:
        worker.job = None
        self._deaths.pop(id(job), None)

    def _vacant(self) -> list[int]:
        taken = self._places.values()
        return [place for place in range(len(self._makers)) if place not in taken]

    def _start(self, place: int) -> Worker[Job, Event]:
        with deferred():
            worker = self._makers[place]()
            self._places[worker] = place
        return worker

    def _bury(self, worker: Worker[Job, Event]) -> Iterator[tuple[Job, Died]]:
        """Free the place of a dead worker; its job goes on in a fresh one, or has had its last."""
        place, job = self._places.pop(worker), worker.job
        worker.pipe.close()
        if job is None:
            return
        self._deaths[id(job)] += 1
        if self._deaths[id(job)] < ATTEMPTS:
            self._start(place).give(job)
        else:
            self._forget(worker, job)
            yield job, worker.death()
