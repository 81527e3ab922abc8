"""The workers of the local executor, and how many of them a machine has room for."""

import os

from mcr_bench.bench.core.workers import pool
from mcr_bench.bench.core.workers.pool import ready
from mcr_bench.bench.core.workers.processes import Spawned
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.worker import FORKS, work
from mcr_bench.bench.runs.events import Event, Job

__all__ = ["Worker", "check_sharing", "default_jobs", "on_gpus", "ready", "worker_count"]

# Asked whether there is a GPU, torch then asks the driver's library and leaves CUDA alone, which no fork survives.
NO_CUDA_BEFORE_FORK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
LESS = "--jobs with a smaller number, or a smaller batch_size, needs less"
PATIENCE = 5  # seconds in which a worker ends the processes that its runs have started


class Worker(pool.Worker[Job, Event]):
    """Trains jobs on `device` with `entry` (module:function); where forks are not safe, it is replaced after each."""

    def __init__(self, entry: str, device: str) -> None:
        start = Spawned("mcr-bench worker", work, entry, FORKS, environment=NO_CUDA_BEFORE_FORK)
        super().__init__(start, device, most=None if FORKS else 1, patience=PATIENCE)


def cause_of(died: pool.Died) -> str:
    """How the process of a worker ended, in words."""
    if not died.signal:
        return f"its worker process exited with code {died.code}"
    if died.starved:
        return f"the system killed its worker process because memory was short ({LESS})"
    hint = "; out of memory?" if died.out_of_memory else ""
    return f"its worker process was ended by {died.signal}{hint}"


def default_jobs(device: str, runs_per_gpu: int = 1) -> int:
    """The number of workers: one per core, or `runs_per_gpu` per GPU if training runs on GPUs; one for mps."""
    if device == "mps":
        return 1
    if device != "cpu":
        from mcr_bench.bench.core.device import gpu_count  # imports torch, which preparing data does without

        if gpus := gpu_count():
            return runs_per_gpu * (gpus if device in ("auto", "cuda") else 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(device: str, jobs: int | None = None, runs_per_gpu: int | None = None) -> int:
    """How many workers `--jobs` and `--runs-per-gpu` ask for; either may be missing. UserError if they cannot be met.

    `--jobs` alone is the number of workers, on GPUs too. With `--runs-per-gpu` there are at most so many per GPU.
    """
    if runs_per_gpu is not None:
        check_sharing(device, runs_per_gpu)
    most = default_jobs(device, runs_per_gpu or 1)
    if jobs is None:
        return most
    bounded = device == "mps" or (runs_per_gpu is not None and on_gpus(device))
    return min(jobs, most) if bounded else jobs


def check_sharing(device: str, runs_per_gpu: int) -> None:
    """UserError if so many runs cannot share a GPU of this choice of `--device`."""
    if runs_per_gpu < 1:
        raise UserError(f"--runs-per-gpu {runs_per_gpu}: at least one run trains on a GPU. Give 1 or more.")
    if device == "cpu":
        raise UserError(f"--runs-per-gpu {runs_per_gpu}: --device cpu uses no GPU. Use --jobs, or another --device.")
    if device == "mps" and runs_per_gpu > 1:
        raise UserError(f"--runs-per-gpu {runs_per_gpu}: on mps one run is trained at a time. Leave the option out.")


def on_gpus(device: str) -> bool:
    """Whether this choice of `--device` means GPUs here."""
    if device == "auto":
        from mcr_bench.bench.core.device import gpu_count

        return gpu_count() > 0
    return device != "cpu"
