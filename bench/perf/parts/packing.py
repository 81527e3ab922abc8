"""The part of `make perf` on packing: how many short runs an hour holds if several of them share one device."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.perf.measured import Machine, Measured, of_rounds
from mcr_bench.bench.perf.workloads import reference_method
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Silent
from mcr_bench.bench.runs.spec import RunSpec

AT_ONCE = (1, 2, 4, 8)
EPOCHS, EACH = 3, 3  # each worker trains three runs, of which the first is not counted


class Ends(Silent):
    """Notes when each run ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_end(self, spec: RunSpec, status: str) -> None:
        if status != "finished":
            raise RuntimeError(f"a run of {spec.label} ended as {status}")
        self.times.append(time.perf_counter())

    def per_hour(self, count: int) -> float:
        """Runs per hour after the first `count` runs, which wait until the workers have started."""
        return 3600 * (len(self.times) - count) / (self.times[-1] - self.times[count - 1])


def packing(machine: Machine) -> Iterator[Measured]:
    """Runs per hour of a small network on the generated dataset, with 1, 2, 4 and 8 runs at a time, and the gain."""
    alone = None
    for count in AT_ONCE if machine.kind == "cuda" else [n for n in AT_ONCE if n <= (os.cpu_count() or 1)]:
        per_hour = runs_per_hour(machine, count)
        yield of_rounds(f"packing: runs per hour, {count} at a time", [per_hour], "runs/h")
        alone = alone or per_hour
        if count > 1:
            yield of_rounds(f"packing: {count} runs at a time / one", [per_hour / alone])


def runs_per_hour(machine: Machine, count: int) -> float:
    """Runs per hour with `count` of them on the device at a time, trained and recorded as by `mcr-bench run`."""
    runs, ends = short_runs(EACH * count), Ends()
    with tempfile.TemporaryDirectory() as folder:
        record = Record(f"sqlite:///{folder}/mlflow.db", Path(folder))
        sharing = count if machine.kind == "cuda" else None
        plan = TrainingPlan(runs, jobs=count, device=machine.place, keep_weights=_none, runs_per_gpu=sharing)
        LocalExecutor().execute(plan, record, ends)
    return ends.per_hour(count)


def _none(_: RunSpec) -> bool:
    return False


def short_runs(count: int) -> list[RunSpec]:
    """Joint training on the generated dataset for a few epochs, with one seed after the other."""
    overrides = {"epochs": [str(EPOCHS)], "patience": ["0"]}
    return make_plan(
        Request([reference_method().name], [generated_dataset()], seeds=list(range(count)), overrides=overrides)
    ).runs


def generated_dataset() -> str:
    """The name of the dataset that needs no files."""
    classes = {name: registry.dataset(name) for name in registry.dataset_names()}
    return next(name for name, cls in classes.items() if not (cls.suffixes or cls(Path()).needs_preparation))
