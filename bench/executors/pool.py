"""The workers of the local executor, and how many of them a machine has room for."""

import os

from mcr_bench.bench.core.workers import pool
from mcr_bench.bench.core.workers.pool import ready
from mcr_bench.bench.core.workers.processes import Spawned
from mcr_bench.bench.executors.worker import FORKS, work
from mcr_bench.bench.runs.events import Event, Job

__all__ = ["Worker", "default_jobs", "ready"]

# Asked whether there is a GPU, torch then asks the driver's library and leaves CUDA alone, which no fork survives.
NO_CUDA_BEFORE_FORK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
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
    hint = "; out of memory?" if died.out_of_memory else ""
    return f"its worker process was ended by {died.signal}{hint}"


def default_jobs(device: str) -> int:
    """The number of workers: one per core, or per GPU if training runs on GPUs."""
    if device != "cpu":
        from mcr_bench.bench.core.device import gpu_count  # imports torch, which preparing data does without

        if gpus := gpu_count():
            return gpus if device in ("auto", "cuda") else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
