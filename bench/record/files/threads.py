"""Many files at once: where reading one waits for the disk, or takes long, several threads read them."""

import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

from mcr_bench.bench.core import waiting

T = TypeVar("T")
R = TypeVar("R")
# Slices for each thread: handing over the results of thousands of small files one by one takes longer.
TURNS = 4
LONGEST = 32  # files in a slice
# Seconds. Files that are read faster are small and in memory: threads would wait for Python's lock more than they read,
# and ten thousand scores took twice as long.
FAST = 5e-4


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in the order of the items; after an error or Ctrl-C nobody waits for the others.

    One thread calls it for the first items, and for the others too where it is fast.
    """
    threads = min(8, 2 * (os.cpu_count() or 1))
    size = min(LONGEST, max(1, len(items) // (TURNS * threads)))
    slices = [items[start : start + size] for start in range(0, len(items), size)]
    seconds: list[float] = []

    def timed(item: T) -> R:
        began = time.perf_counter()
        result = function(item)
        seconds.append(time.perf_counter() - began)
        return result

    read = [*waiting.in_threads(lambda one: [timed(item) for item in one], slices[:1], 1)]
    most = 1 if seconds and median(seconds) < FAST else threads
    read += waiting.in_threads(lambda one: [function(item) for item in one], slices[1:], most)
    return [result for one in read for result in one]
