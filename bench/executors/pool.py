"""Worker processes as the parent sees them: started once, given one job at a time, replaced when they die."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any

from mcr_bench.bench.executors.worker import FORKS, work
from mcr_bench.bench.runs.events import Event, Job

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# Asked whether there is a GPU, torch then asks the driver's library and leaves CUDA alone, which no fork survives.
NO_CUDA_BEFORE_FORK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


class Worker:
    """One worker process; `job` is what it is doing. Start it inside `deferred`, so that it is deaf to Ctrl-C."""

    def __init__(self, entry: str, device: str) -> None:
        self.device = device
        self.job: Job | None = None
        self._spent = False
        self.pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=work, args=(theirs, entry, FORKS), name="mcr-bench worker", daemon=True)
        with _environment(ONE_THREAD | NO_CUDA_BEFORE_FORK):
            self.process.start()
        theirs.close()  # so that the pipe ends when the worker does

    @property
    def free(self) -> bool:
        """Whether it may be given a job; a worker that cannot fork has one run, then it is replaced."""
        return self.job is None and not self._spent

    def give(self, job: Job) -> None:
        self.job, self._spent = job, not FORKS
        with suppress(OSError):  # it died while idle: events() sees that
            self.pipe.send(job)

    def events(self) -> Iterator[Event | None]:
        """What the worker has sent; None as the last one if it is dead.

        Its pipe may outlive it, held open by a process that a run has started.
        """
        dead = not self.process.is_alive()
        try:
            while self.pipe.poll():
                yield self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            dead = True
        if dead:
            yield None

    def cause_of_death(self) -> str:
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its worker process exited with code {code}"
        hint = "; out of memory?" if -code == signal.SIGKILL else ""
        return f"its worker process was ended by {signal.Signals(-code).name}{hint}"

    def stop(self) -> None:
        """End the process, gently first."""
        self.process.terminate()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def ready(workers: list[Worker], timeout: float) -> list[Worker]:
    """The workers that have something to say, waiting at most `timeout` seconds for one."""
    waiting: dict[Any, Worker] = {end: one for one in workers for end in (one.pipe, one.process.sentinel)}
    found = wait(list(waiting), timeout)
    return list(dict.fromkeys(waiting[end] for end in found))


def default_jobs(device: str) -> int:
    """One worker per core, or per GPU where training runs on GPUs."""
    if device != "cpu":
        from mcr_bench.bench.core.device import gpu_count  # imports torch, which preparing data does without

        if gpus := gpu_count():
            return gpus if device in ("auto", "cuda") else 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set before a worker starts: numerical libraries read the thread count when they are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
