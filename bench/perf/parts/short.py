"""The part of `make perf` on short runs: what a run of the small network takes beside its training steps."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mcr_bench.bench.perf.measured import LEAST, Machine, Measured, of_rounds
from mcr_bench.bench.perf.parts.packing import generated_dataset
from mcr_bench.bench.perf.workloads import reference_method
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run

EPOCHS, TRAIN = 20, 2048  # as many training samples as the small network is timed with elsewhere


def short(machine: Machine) -> Iterator[Measured]:
    """The share of a run that is not its training steps: loading, probe heads, validation, predictions and weights.

    Starting the worker and writing to the record, which the command does beside it, are not a part of it.
    """
    spec = short_run()
    shares_of_run(spec, machine.place)
    shares = [shares_of_run(spec, machine.place) for _ in range(LEAST)]
    yield of_rounds(f"a run of {EPOCHS} epochs: share beside its steps", [one.beside for one in shares], "share")
    yield of_rounds(f"a run of {EPOCHS} epochs: share of diagnostics", [one.diagnostics for one in shares], "share")


def short_run() -> RunSpec:
    """Joint training of the small network on the generated dataset."""
    overrides = {"epochs": [str(EPOCHS)], "patience": ["0"], "dataset.train": [str(TRAIN)]}
    return make_plan(Request([reference_method().name], [generated_dataset()], seeds=[0], overrides=overrides)).runs[0]


class Shares(NamedTuple):
    """Shares of a run's time.

    beside: all that is not its training steps.
    diagnostics: of that, what tells of a tested model why it scores as it does: oracle, subsets, noise, permutations.
    """

    beside: float
    diagnostics: float


def shares_of_run(spec: RunSpec, place: str) -> Shares:
    """What a run takes beside its steps, as shares of its seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder, events, began = Path(name), list[Event](), time.perf_counter()
        fit_run(Job(spec, place, folder, {}, folder / "weights.pt"), events.append)
        taken = time.perf_counter() - began
    done = next(event for event in events if isinstance(event, RunDone))
    return Shares(1 - done.seconds / taken, done.metrics["cost/diagnostics_seconds"] / taken)
