"""What a node does with a run: it trains it in a clean child of a worker process, as the local executor does."""

import importlib
import os
import pickle
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import mcr_bench
from mcr_bench.bench.core.home import data_root_here
from mcr_bench.bench.core.workers.pool import ready
from mcr_bench.bench.executors.cluster.messages import Ended, Lost, Report, Started
from mcr_bench.bench.executors.cluster.orders import Task
from mcr_bench.bench.executors.cluster.travel import brought_home, moved, scratch
from mcr_bench.bench.executors.pool import Worker, cause_of
from mcr_bench.bench.runs.events import Event, Job, RunFailed, is_last
from mcr_bench.bench.runs.spec import RunSpec

POLL_SECONDS = 0.5


def train_here(task: Task, weights: Mapping[str, Sequence[object]]) -> Iterator[Report]:
    """Train a run on this machine, as a task of Ray; the last report is Ended or Lost.

    weights: the key of a run that this one starts from -> its best weights, a reference to an object of Ray, which is
    fetched only where the home of the record is not visible.
    """
    shared = (task.home / task.token).is_file()
    yield Started(socket.gethostname(), shared)
    if mcr_bench.__version__ != task.version:
        yield Ended(RunFailed(task.key, _another_version(task)), {})
        return
    if task.folder.is_dir():
        os.chdir(task.folder)
    job = _job_here(task)
    if shared:
        for event in _trained(task.entry, job):
            yield event if isinstance(event, Lost) or not is_last(event) else Ended(event, {})
        return
    with scratch() as folder:
        here = moved(job, folder, {key: _ray().get(reference) for key, (reference,) in weights.items()})
        for event in _trained(task.entry, here):
            yield event if isinstance(event, Lost) or not is_last(event) else Ended(event, brought_home(job, here))


def _trained(entry: str, job: Job) -> Iterator[Event | Lost]:
    worker = _worker(entry, job.device, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    try:
        worker.give(job)
        while worker.job is not None:
            for event in worker.events():
                if event is None:
                    yield Lost(cause_of(worker.death()))
                    return
                if is_last(event):
                    worker.job = None
                yield event
            ready([worker], POLL_SECONDS)
    finally:
        if not worker.free:  # it died, is spent, or nobody wants the rest
            _worker.cache_clear()
            worker.stop()


@lru_cache(1)
def _worker(entry: str, device: str, _gpus: str) -> Worker:
    """A worker process that imports once what all runs need. It ends with this process, which Ray ends."""
    return Worker(entry, device)


def _job_here(task: Task) -> Job:
    """The job, on another node with the folder of prepared data of that machine."""
    sys.path += [place for place in task.path if place not in sys.path]
    job: Job = pickle.loads(task.job)
    if not isinstance(job.spec, RunSpec) or _ray().get_runtime_context().get_node_id() == task.driver:
        return job
    return replace(job, spec=replace(job.spec, data_root=data_root_here(task.folder / job.spec.data_root)))


def _ray() -> Any:
    """Ray, which is not installed everywhere."""
    return importlib.import_module("ray")


def _another_version(task: Task) -> str:
    return (
        f"the node {socket.gethostname()} has mcr-bench {mcr_bench.__version__}, and the machine of the command "
        f"{task.version}. Install the same version on every node."
    )
