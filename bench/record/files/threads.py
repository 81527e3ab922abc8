"""Many files at once: where reading one waits for the disk, or takes long, several threads read them."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from mcr_bench.bench.core import waiting

T = TypeVar("T")
R = TypeVar("R")
# Slices for each thread: handing over the results of thousands of small files one by one takes longer.
TURNS = 4
LONGEST = 32  # files in a slice
FIRST = 3  # files that are read by one thread before the time that they took is looked at
# Seconds. Files that are read faster are small and in memory: threads would wait for Python's lock more than they read,
# and ten thousand scores took twice as long.
FAST = 5e-4


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in the order of the items; after an error or Ctrl-C nobody waits for the others.

    One thread calls it until it is slow, and then several do: files may be cached, and the next ones on a server.
    """
    results, size = list[R](), FIRST
    while len(results) < len(items):
        ((some, slow),) = waiting.in_threads(partial(_timed, function), [items[len(results) : len(results) + size]], 1)
        results += some
        if slow:
            break
        size = min(2 * size, LONGEST)
    return results + _in_many(function, items[len(results) :])


def _in_many(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    threads = min(8, 2 * (os.cpu_count() or 1))
    size = min(LONGEST, max(1, len(items) // (TURNS * threads)))
    slices = [items[start : start + size] for start in range(0, len(items), size)]
    read = waiting.in_threads(lambda one: [function(item) for item in one], slices, threads)
    return [result for one in read for result in one]


def _timed(function: Callable[[T], R], items: Sequence[T]) -> tuple[list[R], bool]:
    """The results, and whether a call takes long on average, without the longest: the first one imports libraries."""
    results, seconds = list[R](), list[float]()
    for item in items:
        began = time.perf_counter()
        results.append(function(item))
        seconds.append(time.perf_counter() - began)
    return results, sum(seconds) - max(seconds) > FAST * (len(seconds) - 1)
