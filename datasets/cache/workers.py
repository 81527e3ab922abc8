"""Workers that decode: they import what decoding needs but not torch, and they end when the parent ends."""

import pickle
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from mcr_bench.bench.core.workers.pool import ATTEMPTS, Died, Pool, Worker
from mcr_bench.bench.core.workers.processes import Script
from mcr_bench.bench.core.workers.serving import Begun
from mcr_bench.bench.errors import UserError

__all__ = ["ATTEMPTS", "NotLoaded", "spread"]

START = "import sys; from mcr_bench.bench.core.workers.serving import begin; begin(int(sys.argv[1]))"
POLL_SECONDS = 0.5
Order = TypeVar("Order")
Answer = TypeVar("Answer")


class NotLoaded(Exception):
    """The function that handles orders cannot be loaded in a worker; the text is the reason."""


def spread(
    handle: Callable[[Order], Answer], orders: deque[Order], jobs: int
) -> Generator[tuple[Order, Answer | str], None, None]:
    """Each order with its answer `handle(order)` as soon as it is available, or with how its worker ended, in words.

    At most `jobs` orders are handled at a time. `orders` may grow until the last answer. `handle` is pickled for every
    worker; NotLoaded if that fails.
    """
    try:
        entry = pickle.dumps(handle)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotLoaded(error) from error
    start: Callable[[], Worker[Order, Answer | Begun]] = partial(_worker, entry)
    with Pool([start] * jobs, is_last=lambda event: not isinstance(event, Begun)) as pool:
        while orders or pool.busy:
            while orders and (worker := pool.free()):
                worker.give(orders.popleft())
            for order, event in pool.events(POLL_SECONDS):
                if isinstance(event, Begun):
                    _require_loaded(event)
                elif isinstance(event, Died):
                    yield order, _cause(event)
                else:
                    yield order, event


def _worker(entry: bytes) -> Worker[Order, Answer | Begun]:
    worker: Worker[Order, Answer | Begun] = Worker(Script(START))
    with suppress(OSError):  # the worker has ended, which events() reports
        worker.pipe.send_bytes(entry)
    return worker


def _require_loaded(begun: Begun) -> None:
    if begun.failure:
        raise NotLoaded(begun.failure)


def _cause(died: Died) -> str:
    """How a worker ended, in words; UserError if it ended before it had started."""
    hint = " (out of memory?)" if died.out_of_memory else ""
    cause = f"{died.signal}{hint}" if died.signal else f"exit code {died.code}"
    if died.silent:
        raise UserError(
            f"a worker of `data prepare` ended while it started: {cause}. Free memory, or use fewer --jobs."
        )
    return cause
