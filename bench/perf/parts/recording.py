"""The part of `make perf` on the record: what writing a run to MLflow takes of a run of a minute."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.perf.measured import Machine, Measured, of_rounds
from mcr_bench.bench.perf.parts.packing import Ends, generated_dataset
from mcr_bench.bench.perf.workloads import reference_method
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec

P = ParamSpec("P")
T = TypeVar("T")
WRITING = ("start", "log_epoch", "flush_if_due", "finish")
FEW, MORE, SECONDS = 5, 305, 60.0  # epochs of two runs: from their difference follow those of a run of a minute


def recording(machine: Machine) -> Iterator[Measured]:
    """The share of a run of a minute in which the command writes it to its record, while the worker trains.

    Importing MLflow, which a command does once, is not a part of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        record = Record(f"sqlite:///{folder}/mlflow.db", Path(folder))
        few, more = (_trained(record, machine, _run(n, seed)).seconds for seed, n in enumerate((FEW, MORE)))
        each = max((more - few) / (MORE - FEW), 0.001)  # without what a worker takes to start
        timed = _trained(record, machine, _run(round(SECONDS / each), seed=2))
    yield of_rounds("recording: share of a run of a minute", [timed.writing / timed.seconds], "share")


class Timed:
    """Counts the seconds of a run, and those in which its record was written."""

    def __init__(self, record: Record) -> None:
        self.writing, self.seconds, self._inside = 0.0, 0.0, False
        for name in WRITING:
            setattr(record, name, self._counted(getattr(record, name)))

    def _counted(self, call: Callable[P, T]) -> Callable[P, T]:
        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            if self._inside:
                return call(*args, **kwargs)
            began, self._inside = time.perf_counter(), True
            try:
                return call(*args, **kwargs)
            finally:
                self.writing += time.perf_counter() - began
                self._inside = False

        return counted


def _trained(record: Record, machine: Machine, run: RunSpec) -> Timed:
    timed, began = Timed(record), time.perf_counter()
    LocalExecutor().execute(TrainingPlan([run], jobs=1, device=machine.place), record, Ends())
    timed.seconds = time.perf_counter() - began
    return timed


def _run(epochs: int, seed: int) -> RunSpec:
    """The small network on the generated dataset."""
    overrides = {"epochs": [str(epochs)], "patience": ["0"]}
    return make_plan(Request([reference_method().name], [generated_dataset()], seeds=[seed], overrides=overrides)).runs[
        0
    ]
