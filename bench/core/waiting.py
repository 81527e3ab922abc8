"""Calls that cannot hold up the program: each in a thread that is left behind if it does not return.

A thread that waits in a library written in C does not notice Ctrl-C; a program that waits for the thread does.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Late(Exception):
    """A call has not returned in time."""


class _Result(threading.Event):
    """What a call returned or raised; set when it did either."""

    value: object = None
    error: BaseException | None = None


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; Late if it does neither in so many seconds, while it goes on in its thread."""
    result = _Result()
    threading.Thread(target=_run, args=(call, result), daemon=True).start()
    if not result.wait(seconds):
        raise Late(f"no answer within {seconds:g} s")
    if result.error is not None:
        raise result.error
    value: T = result.value  # type: ignore[assignment]
    return value


def in_threads(function: Callable[[U], T], items: Iterable[U], most: int) -> Iterator[T]:
    """The results of `function` for all items, in their order, made by at most so many threads.

    The first error is raised; on Ctrl-C nobody waits for the threads, as a pool of concurrent.futures does.
    """
    every = list(items)
    results, numbers = [_Result() for _ in every], SimpleQueue[int]()
    for number in range(len(every)):
        numbers.put(number)

    def work() -> None:
        with suppress(Empty):
            while True:
                number = numbers.get_nowait()
                _run(partial(function, every[number]), results[number])

    for _ in range(min(most, len(every))):
        threading.Thread(target=work, daemon=True).start()
    for result in results:
        result.wait()
        if result.error is not None:
            raise result.error
        value: T = result.value  # type: ignore[assignment]
        yield value


def _run(call: Callable[[], object], result: _Result) -> None:
    try:
        result.value = call()
    except BaseException as error:
        result.error = error
    result.set()
