"""The part of `make perf` on isolation: time of a run in a new process, over that in a process that had other runs."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from mcr_bench.bench.executors.base import ENTRY
from mcr_bench.bench.executors.pool import Worker
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, ratio
from mcr_bench.bench.perf.parts.packing import generated_dataset
from mcr_bench.bench.perf.workloads import reference_method
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import Job, RunDone, RunFailed
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run

ROUNDS = 11  # whole runs, whose times depend on what else the machine does


def isolation(machine: Machine) -> Iterator[Measured]:
    """Time of a run in a process of its own, as `make run` trains it, over the same run in a process that had others.

    It is measured on the reference method, whose runs are the shortest: starting a process takes the largest share.
    """
    spec = make_plan(Request([reference_method().name], [generated_dataset()], seeds=[0])).runs[-1]
    clean, (ours, theirs) = Worker(ENTRY, machine.place), multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_train_all, args=(theirs,), daemon=True)
    process.start()
    try:
        works = [partial(_train, pipe, spec, machine.place) for pipe in (clean.pipe, ours)]
        yield ratio(
            "a run in a process of its own / in one that had other runs",
            *in_turns(works, machine.device, ROUNDS, here=False),
        )
    finally:
        clean.stop()
        process.kill()


def _train(pipe: Connection, spec: RunSpec, place: str) -> None:
    """Let the process at the other end of the pipe train one run."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(Job(spec, place, Path(folder), {}, Path(folder) / "weights.pt"))
        event = None
        while not isinstance(event, RunDone):
            event = pipe.recv()
            if isinstance(event, RunFailed):
                raise RuntimeError(event.reason or event.traceback)


def _train_all(pipe: Connection) -> None:
    """Train every run that comes through the pipe, in this one process."""
    torch.set_num_threads(1)
    while True:
        fit_run(pipe.recv(), pipe.send)
