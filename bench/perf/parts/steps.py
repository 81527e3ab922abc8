"""The part of `make perf` on steps: the harness beside a bare loop and beside the same network at its fastest."""

from collections.abc import Iterator
from functools import partial

from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.loops import bare_loop, reference_loop
from mcr_bench.bench.perf.measured import Machine, Measured, Work, in_turns, of_rounds, ratio
from mcr_bench.bench.perf.workloads import Workload, precisions, reference_method, training_run, workloads
from mcr_bench.bench.training.loop import train_epoch

PLAIN = "bare loop with Adam as it comes"


def steps(machine: Machine) -> Iterator[Measured]:
    """Joint training of each workload in each precision, without probe heads."""
    for name, workload in workloads(machine).items():
        for precision in precisions(machine, workload):
            yield from of_workload(machine, name, workload, precision)


def of_workload(machine: Machine, name: str, workload: Workload, precision: Precision) -> Iterator[Measured]:
    """Milliseconds per step of the harness and of the loops beside it, and their ratios, all taken in turns."""
    title, reference = f"{name} {precision}", reference_method()
    run, other = (training_run(machine, workload, reference, precision) for _ in range(2))
    works: dict[str, Work] = {reference.name: partial(train_epoch, run), "bare loop": bare_loop(other)}
    if not workload.has_images:  # where Adam is a large part of a step
        works[PLAIN] = bare_loop(training_run(machine, workload, reference, precision), fused=False)
    if machine.kind == "cuda" and workload.has_images:
        works["reference loop"] = reference_loop(machine, workload, other)
    times = dict(zip(works, in_turns(list(works.values()), machine.device), strict=True))
    for loop, taken in times.items():
        count = workload.samples / workload.batch
        yield of_rounds(f"{title}: {loop}, ms per step", [1000 * s / count for s in taken], "ms")
    yield ratio(f"{title}: harness / bare loop", times[reference.name], times["bare loop"])
    if PLAIN in times:
        yield ratio(f"{title}: harness / {PLAIN}", times[reference.name], times[PLAIN])
    if "reference loop" in times:
        yield ratio(f"{title}: {reference.name} / reference loop", times[reference.name], times["reference loop"])
