"""The part of `make perf` on passes: what a step of each method runs and keeps, counted on a small network.

It counts and takes no times, so that a CPU gives
the numbers of every device. It has every method that trains something, also those
whose runs start from others.
"""

from collections.abc import Iterator

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.perf.measured import Machine, Measured, of_rounds
from mcr_bench.bench.testing.methods.costs import step_cost
from mcr_bench.bench.testing.trials.trials import Trials


def passes(_machine: Machine) -> Iterator[Measured]:
    """Encoder passes per step over those of joint training, and the memory kept for the backward pass over its."""
    for name in registry.method_names():
        cls = registry.method(name)
        cost = None if cls.role == "unimodal" else step_cost(Trials(cls))
        if cost is not None:
            for direction, count in cost.passes.items():
                yield of_rounds(f"{name}: encoder {direction} passes / joint", [count / cost.joint[direction]])
            yield of_rounds(f"{name}: memory kept for the backward pass / joint", [cost.memory])
