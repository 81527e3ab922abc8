"""The part of `make perf` on isolation: time of a run in a new process, over that in a process that had other runs."""

import json
import multiprocessing
import tempfile
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.executors.local import ENTRY
from mcr_bench.bench.executors.pool import Worker
from mcr_bench.bench.perf.methods import reference_method, report_ratio
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run

ROUNDS = 11  # whole runs, whose times depend on what else the machine does


def isolation_ratio() -> dict[str, float]:
    """Time of a run in a process of its own, as `make run` trains it, over the same run in a process that had others.

    It is measured on the reference method, whose runs are the shortest: starting a process takes the largest share.
    """
    spec = make_plan(Request([reference_method().name], [_generated_dataset()], seeds=[0])).runs[-1]
    title = "a run in a process of its own / in one that had other runs"
    clean, (ours, theirs) = Worker(ENTRY, "cpu"), multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_train_all, args=(theirs,), daemon=True)
    process.start()
    try:
        return {title: report_ratio(title, partial(_train, clean.pipe, spec), partial(_train, ours, spec), ROUNDS)}
    finally:
        clean.stop()
        process.kill()


def _generated_dataset() -> str:
    """The name of the dataset that needs no files."""
    classes = {name: registry.dataset(name) for name in registry.dataset_names()}
    return next(name for name, cls in classes.items() if not (cls.suffixes or cls(Path()).needs_preparation))


def _train(pipe: Connection, spec: RunSpec) -> None:
    """Let the process at the other end of the pipe train one run."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(Job(spec, "cpu", Path(folder), {}, Path(folder) / "weights.pt"))
        event = None
        while not isinstance(event, RunDone):
            event = pipe.recv()


def _train_all(pipe: Connection) -> None:
    """Train every run that comes through the pipe, in this one process."""
    torch.set_num_threads(1)
    while True:
        fit_run(pipe.recv(), pipe.send)


if __name__ == "__main__":
    print(json.dumps(isolation_ratio()))
