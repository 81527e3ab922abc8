"""Peak memory of one run: of the GPU that it trains on, or of the process where it trains on the CPU."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from mcr_bench.bench.core import device as devices


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
