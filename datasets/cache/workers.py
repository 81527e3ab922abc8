"""Worker processes that decode: one order at a time each, replaced when they die, gone when the parent goes."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from mcr_bench.bench.core.interrupts import blocked
from mcr_bench.bench.errors import UserError

ATTEMPTS = 2  # how often an order is given to a worker that dies of it
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# not multiprocessing.Process, whose children run the main script again: one that imports torch would cost each of them
START = "import sys; from mcr_bench.datasets.cache.workers import serve; serve(int(sys.argv[1]))"
Order = TypeVar("Order")
Answer = TypeVar("Answer")


class NotLoaded(Exception):
    """What handles orders cannot be loaded in a worker; the text says why."""


def spread(
    handle: Callable[[Order], Answer], orders: deque[Order], jobs: int
) -> Generator[tuple[Order, Answer | str], None, None]:
    """Each order with `handle(order)`, as they come, or with the way in which its worker died, told in words.

    At most `jobs` orders are out. `orders` may grow until the last answer. `handle` is pickled for every worker;
    NotLoaded where that fails.
    """
    try:
        entry = pickle.dumps(handle)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotLoaded(error) from error
    workers: list[_Worker[Order, Answer]] = []
    deaths: Counter[int] = Counter()
    try:
        while orders or any(worker.busy for worker in workers):
            idle = [worker for worker in workers if not worker.busy]
            while orders and (idle or len(workers) < jobs):
                if not idle:
                    workers.append(_Worker(entry))
                (idle.pop() if idle else workers[-1]).give(orders.popleft())
            for worker in _that_answered(workers):
                order = worker.order
                answer = worker.answer()
                if answer is None:
                    workers.remove(worker)
                    deaths[id(order)] += 1
                    if deaths[id(order)] < ATTEMPTS:
                        orders.appendleft(order)  # it may have died of something else: memory was short, say
                        continue
                deaths.pop(id(order), None)
                yield order, worker.cause_of_death() if answer is None else answer
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[Order, Answer]):
    def __init__(self, entry: bytes) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        command = [sys.executable, "-P", "-c", START, str(theirs.fileno())]
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        surroundings = os.environ | ONE_THREAD | {"PYTHONPATH": path}
        with blocked():
            self.process = subprocess.Popen(command, env=surroundings, pass_fds=[theirs.fileno()])
        theirs.close()  # so that the pipe ends when the worker does
        self.ready = self.busy = False
        self.order: Order
        with suppress(OSError):  # it is dead: answer() sees that
            self.pipe.send_bytes(entry)

    def give(self, order: Order) -> None:
        self.order, self.busy = order, True
        with suppress(OSError):  # it is dead: answer() sees that
            self.pipe.send(order)

    def answer(self) -> Answer | None:
        """What the worker has sent; None where it is dead. UserError or NotLoaded where it could not start."""
        try:
            if not self.ready:
                self._begin(self.pipe.recv())
            found: Answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.wait()
            if not self.ready:
                raise UserError(
                    f"a worker of `data prepare` ended while it started: {self.cause_of_death()}. "
                    "Free memory, or use fewer --jobs."
                ) from error
            return None
        self.busy = False
        return found

    def _begin(self, failure: str | None) -> None:
        if failure:
            raise NotLoaded(failure)
        self.ready = True

    def cause_of_death(self) -> str:
        code = self.process.wait()
        if code >= 0:
            return f"exit code {code}"
        return signal.Signals(-code).name + (" (out of memory?)" if -code == signal.SIGKILL else "")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()


def _that_answered(workers: list[_Worker[Order, Answer]]) -> list[_Worker[Order, Answer]]:
    waiting: dict[Any, _Worker[Order, Answer]] = {worker.pipe: worker for worker in workers if worker.busy}
    return [waiting[pipe] for pipe in wait(list(waiting))]


def serve(handle: int) -> None:
    """The life of a worker: orders come through the pipe with this file descriptor, answers go back."""
    pipe: Connection[Any, Any] = Connection(handle)
    with suppress(EOFError, OSError):  # the parent is gone
        try:
            entry = pickle.loads(pipe.recv_bytes())
        except Exception as error:  # of any type: modules are run
            pipe.send(f"{type(error).__name__}: {error}")
            return
        pipe.send(None)
        while True:
            pipe.send(entry(pipe.recv()))
