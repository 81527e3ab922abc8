"""Memory of one run: its peak, on a GPU or in the process on the CPU, and whether a GPU has room for it."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from mcr_bench.bench.core import device as devices


class NoRoom(Exception):
    """A GPU that other runs use has too little free memory for a further one. It is not an error of the run."""


def require_room(device: torch.device, mib: float) -> None:
    """NoRoom if a GPU, made ready before, has less free memory than this; devices without memory of their own pass."""
    free = devices.free_bytes(device) / 2**20
    if device.type == "cuda" and free < mib:
        raise NoRoom(f"{free:.0f} MiB are free, and the largest run so far took {mib:.0f} MiB")


def reserved_mib(device: torch.device) -> float:
    """The most memory in MiB that the run had taken from its GPU since `reset_peak`; 0 for other devices."""
    return devices.reserved_bytes(device) / 2**20


def reset_peak(device: torch.device) -> None:
    """Reset the peak that `peak_mib` reads, on Linux and on GPUs.

    On other systems the peak remains that of the process's whole life. A GPU must have been made ready before
    (`core.device.ready`).
    """
    if device.type == "cuda":
        devices.reset_peak(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)


def peak_mib(device: torch.device) -> float:
    """The peak memory since `reset_peak`, in MiB (2**20 bytes)."""
    if device.type == "cuda":
        return devices.peak_bytes(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Inside the block this process may take at most so many bytes of memory more; what asks for more fails.

    It fails with MemoryError, or with PyTorch's RuntimeError (`errors.lacks_memory` knows both). The addresses of the
    process count, mapped files too. On systems that do not tell how many these are there is no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = taken + size if hard == resource.RLIM_INFINITY else min(taken + size, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
