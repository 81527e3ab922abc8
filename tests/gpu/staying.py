"""Runs that are trained in processes that stay, each of which has started its GPU once: minutes less than by a command.

A command trains every run in a fresh process, which the checks on sharing and resuming show on some.
"""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.gpu.checks import Place


@dataclass(frozen=True)
class Kept:
    """The files and the last events of some runs.

    folder: where each run has a folder with its key as the name, and `weights` has the best weights of all.
    done: key -> what a run has sent at its end.
    """

    folder: Path
    done: dict[str, RunDone]

    def weights(self, key: str) -> Path:
        """The file of a run's best weights."""
        return self.folder / "weights" / f"{key}.pt"

    def predictions(self, key: str) -> Path:
        """The file of a run's predictions."""
        return self.folder / key / "predictions.parquet"


def train_staying(runs: Sequence[RunSpec], folder: Path, place: Place, deterministic: bool = False) -> Kept:
    """Train runs, and first those that they start from, as the training loop does; AssertionError if one fails."""
    kept, failed = Kept(folder, {}), list[str]()
    pool = processes(place.processes, "deterministic" if deterministic else "")
    first = {one.key: one for run in runs for one in run.dependencies}
    (folder / "weights").mkdir(parents=True)
    for part in (list(first.values()), [run for run in runs if run.key not in first]):
        jobs = [job_in(kept, spec, place.name, deterministic) for spec in part]
        for spec, ended in zip(part, pool.map(train, jobs), strict=True):
            if isinstance(ended, RunDone):
                kept.done[spec.key] = ended
            else:
                failed.append(f"{spec.label} (seed {spec.seed}): {ended}")
    assert not failed, f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed[:5])}"
    return kept


def job_in(kept: Kept, spec: RunSpec, device: str, deterministic: bool = False) -> Job:
    """The job of a run whose files, and those of the runs that it starts from, are in `kept`."""
    folder = kept.folder / spec.key
    folder.mkdir(exist_ok=True)
    needed = {run.key: kept.weights(run.key) for run in spec.dependencies}
    return Job(spec, device, folder, needed, kept.weights(spec.key), deterministic)


def train(job: Job) -> RunDone | str:
    """Train a job in this process: its last event, or the text of its error."""
    events: list[Event] = []
    try:
        fit_run(job, events.append)
    except Exception as error:  # of any type: the other runs are still trained
        return f"{type(error).__name__}: {error}"
    assert isinstance(events[-1], RunDone)
    return events[-1]


@cache
def processes(count: int, _kind: str = "") -> ProcessPoolExecutor:
    """The processes that stay, others for each kind of run: whether a run is deterministic is chosen once, for CUDA."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=torch.set_num_threads, initargs=(1,))
