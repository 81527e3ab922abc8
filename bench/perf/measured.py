"""What `make perf` measures: times that are taken in turns within one process, and the numbers made of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mcr_bench.bench.core import device as devices

Work = Callable[[], object]
ROUNDS, GPU_ROUNDS = 5, 3


@dataclass(frozen=True)
class Measured:
    """A number that was measured.

    title: what it is, such as `mlp fp32: harness / bare loop`. It is unique on a device.
    value: the median over the rounds.
    unit: ratio, ms, share (0 to 1), MiB, runs/h or batches.
    low: the smallest round.
    high: the largest round.
    """

    title: str
    value: float
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Machine:
    """Where it is measured.

    place: the device, `cpu` or `cuda:N`.
    device: the same as torch's device, made ready in this process.
    """

    place: str
    device: torch.device

    @property
    def kind(self) -> str:
        """The type of the device, such as `cpu` or `cuda`."""
        return self.device.type


def rounds(machine: Machine) -> int:
    """In how many rounds training is timed: fewer on a GPU, whose times vary less."""
    return GPU_ROUNDS if machine.kind == "cuda" else ROUNDS


def machine(place: str) -> Machine:
    """The machine with the device `cpu` or `cuda:N`, which is made ready in this process."""
    return Machine(place, devices.ready(place))


def of_rounds(title: str, rounds: Sequence[float], unit: str = "ratio") -> Measured:
    """The median over rounds, with the smallest and the largest of them.

    >>> of_rounds("a", [4.0, 1.0, 2.0]).value
    2.0
    """
    return Measured(title, statistics.median(rounds), unit, min(rounds), max(rounds))


def seconds(work: Work, device: torch.device) -> float:
    """The time of some work, until the device has finished what was queued."""
    devices.synchronise(device)
    began = time.perf_counter()
    work()
    devices.synchronise(device)
    return time.perf_counter() - began


def in_turns(works: Sequence[Work], device: torch.device, count: int) -> list[list[float]]:
    """Seconds of each work in each round, (works, count): the works take turns, after a round that is not counted.

    Whatever else the machine does then slows all of them equally.
    """
    for work in works:
        work()
    taken = [[seconds(work, device) for work in works] for _ in range(count)]
    return [list(column) for column in zip(*taken, strict=True)]


def ratio(title: str, ours: Sequence[float], theirs: Sequence[float]) -> Measured:
    """The ratio of two times, round by round."""
    return of_rounds(title, [a / b for a, b in zip(ours, theirs, strict=True)])
