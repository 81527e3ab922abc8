"""Where the samples of a run lie while it trains: in memory, on its device, or on disk."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.faults.of_gpus import is_out_of_memory
from mcr_bench.bench.problem.stored import StoredRows
from mcr_bench.datasets.base import Rows, Split

SHARE = 4  # a run keeps its samples on a GPU if they take at most this part (1 / SHARE) of its share of free memory


def fits(size: int, free: int, runs: int = 1) -> bool:
    """Whether `size` bytes of samples may stay on a GPU with `free` bytes of memory, which `runs` runs share.

    A quarter of each run's share is for samples; the rest is for weights, gradients and activations.

    >>> fits(2, 8), fits(3, 8), fits(2, 8, runs=2), fits(1, 0)
    (True, False, False, False)
    """
    return size * SHARE * runs <= free


def placed(parts: Sequence[Split], device: torch.device, runs: int = 1) -> list[Split]:
    """The parts, with the stored rows of all of them in the memory of a GPU if together they fit there.

    parts: on `device` already. runs: how many runs share the GPU. On a CPU rows stay on disk, whose pages the system
    keeps in memory.
    """
    rows = [x for part in parts for x in part.values.values() if isinstance(x, StoredRows)]
    if not rows or not fits(sum(x.stored_bytes for x in rows), devices.free_bytes(device) or 0, runs):
        return list(parts)
    try:
        return [_brought(part) for part in parts]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        warnings.warn(f"samples stay on disk: {error}", stacklevel=2)  # others took the memory meanwhile
        return list(parts)


def place_of(part: Split) -> str:
    """Where the samples of a part are, for the record: `disk` if any are read from there, else `device` or `memory`."""
    rows = [x for x in part.values.values() if isinstance(x, Rows)]
    if not rows:
        return "memory"
    return "device" if all(isinstance(x, StoredRows) and x.held is not None for x in rows) else "disk"


def _brought(part: Split) -> Split:
    values = {m: x.brought() if isinstance(x, StoredRows) else x for m, x in part.values.items()}
    return replace(part, values=values)
