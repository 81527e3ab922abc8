"""The contract of an executor, and what it is given: the runs to train and how the user wants them trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Observer, Outcome
from mcr_bench.bench.runs.spec import RunSpec

ENTRY = "mcr_bench.bench.training.loop:fit_run"


def _all(_: RunSpec) -> bool:
    return True


def _none(_: RunSpec) -> bool:
    return False


@dataclass(frozen=True)
class TrainingPlan:
    """The runs that an executor is to train.

    runs: the runs that are not finished; all other runs that they start from are finished.
    done: how many runs of the whole comparison were finished before, for the progress that is shown.
    jobs: how many runs may be trained at a time; None for as many as the executor has room for.
    device: auto, cpu, cuda, cuda:N or mps, as the user has chosen.
    force: whether a run is trained again where its key is finished, as another command may have finished it meanwhile.
    keep_weights: whether a run's best weights are kept although no other run of the plan starts from them.
    entry: `module:function` that trains a job, called with (job, emit).
    deterministic: whether only algorithms may be used that give the same bits every time.
    runs_per_gpu: how many runs may share a GPU; None for one, or as many as `jobs` asks for.
    address: the address of the executor's cluster; None for the executor's default.
    resources: what one run takes of a node, as `cpu` or `gpu` -> amount; None for the executor's default.
    timeout: the seconds after which a run is ended and fails; None for no limit.
    local_record: whether the record stays on this machine whatever the cluster is, as that of a search does.
    """

    runs: Sequence[RunSpec]
    done: int = 0
    jobs: int | None = None
    device: str = "auto"
    force: Callable[[RunSpec], bool] = _none
    keep_weights: Callable[[RunSpec], bool] = _all
    entry: str = ENTRY
    deterministic: bool = False
    runs_per_gpu: int | None = None
    address: str | None = None
    resources: Mapping[str, float] | None = None
    timeout: float | None = None
    local_record: bool = False


class Executor(Protocol):
    """Who decides where and when the jobs of a plan are trained, and nothing else.

    What all executors share is in `mcr_bench.bench.executors.jobs`: dependencies, locks, weights, the record and
    cleaning up. An executor asks it for jobs, has `train_job` of `mcr_bench.bench.executors.worker` train each in a
    process of its own, and hands the events back. It is chosen by `--executor NAME`: `local`, or the name of an entry
    point of the group `mcr_bench.executors` that leads to a class without arguments.
    """

    def execute(self, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
        """Train every run of the plan; returns the outcome of its jobs.

        KeyboardInterrupt and errors of the executor itself are raised after its processes have stopped.
        """
