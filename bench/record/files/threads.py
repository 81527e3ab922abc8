"""Many small files at once: reading one waits for the disk most of the time."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from mcr_bench.bench.core import waiting

T = TypeVar("T")
R = TypeVar("R")
# Slices for each thread: handing over the results of thousands of small files one by one takes longer.
TURNS = 4
LONGEST = 32  # files in a slice


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in the order of the items; after an error or Ctrl-C nobody waits for the others."""
    threads = min(8, 2 * (os.cpu_count() or 1))
    size = min(LONGEST, max(1, len(items) // (TURNS * threads)))
    slices = [items[start : start + size] for start in range(0, len(items), size)]
    read = waiting.in_threads(lambda one: [function(item) for item in one], slices, threads)
    return [result for one in read for result in one]
