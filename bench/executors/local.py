"""The local executor, which trains jobs in worker processes on this machine."""

from collections.abc import Callable, Sequence
from functools import partial

from mcr_bench.bench.core.workers.pool import ATTEMPTS, Died, Pool
from mcr_bench.bench.executors.base import ENTRY, TrainingPlan
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.pool import Worker, cause_of, worker_count
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Event, Job, Observer, Outcome, Silent, is_last
from mcr_bench.bench.runs.spec import RunSpec

__all__ = ["ENTRY", "LocalExecutor", "execute"]

POLL_SECONDS = 0.5


class LocalExecutor:
    """By default it has one worker per core, or per GPU; a run whose worker dies continues in another one, once.

    `runs_per_gpu` and `jobs` of the plan say how many share a GPU, as `worker_count` explains.
    """

    def execute(self, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
        """Train every run of the plan; UserError for a device that is not available."""
        from mcr_bench.bench.core.device import devices  # imports torch

        jobs = Jobs(plan, record, observer)
        count = worker_count(plan.device, plan.jobs, plan.runs_per_gpu)
        places = devices(plan.device, max(1, min(count, len(jobs))))
        with jobs:
            if len(jobs):
                _train(jobs, [partial(Worker, plan.entry, place) for place in places])
        return jobs.outcome


def _train(jobs: Jobs, makers: Sequence[Callable[[], Worker]]) -> None:
    with Pool[Job, Event](makers, is_last=is_last) as pool:
        pool.start()
        while jobs.go_on():
            _deal(jobs, pool)
            for job, reason in jobs.to_stop():
                pool.drop(job)
                jobs.fail(job, reason)
            for job, event in pool.events(POLL_SECONDS if jobs.waiting or pool.busy else 0):
                if isinstance(event, Died):
                    jobs.fail(job, f"{cause_of(event)}, {ATTEMPTS} times")
                else:
                    jobs.take(job, event)


def _deal(jobs: Jobs, pool: Pool[Job, Event]) -> None:
    """Give a job to every free worker, as long as there is one for its device."""
    refused: set[str] = set()
    for worker in pool.all_free() if jobs.waiting else ():
        job = None if worker.place in refused or not jobs.waiting else jobs.next(worker.place)
        if job is None:
            refused.add(worker.place)
        else:
            worker.give(job)


def execute(
    specs: Sequence[RunSpec],
    record: Record,
    *,
    jobs: int | None = None,
    device: str = "auto",
    observer: Observer | None = None,
    done: int = 0,
    force: bool = False,
    keep_weights: Callable[[RunSpec], bool] = lambda _: True,
    entry: str = ENTRY,
    deterministic: bool = False,
    runs_per_gpu: int | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Train `specs` with the local executor; the options are those of `TrainingPlan`."""
    plan = TrainingPlan(
        specs, done, jobs, device, lambda _: force, keep_weights, entry, deterministic, runs_per_gpu, timeout=timeout
    )
    return LocalExecutor().execute(plan, record, observer or Silent())
