"""Peak memory of one run: of the device on a GPU, of the process on a CPU."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from mcr_bench.bench.core import device as devices


def reset_peak(device: torch.device) -> None:
    """Start counting anew, where the system can (Linux, CUDA); elsewhere the peak is the process's.

    A GPU must be made ready first (`core.device.ready`).
    """
    if device.type == "cuda":
        devices.reset_peak(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)


def peak_mib(device: torch.device) -> float:
    """Peak since `reset_peak`, in MiB."""
    if device.type == "cuda":
        return devices.peak_bytes(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
