"""What `make perf` measures: times that are taken in turns within one process, and the numbers made of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mcr_bench.bench.core import device as devices

Work = Callable[[], object]
LEAST, MOST = 3, 15  # rounds
ENOUGH = 3.0  # seconds that the counted rounds take together, if there are not yet most of them


@dataclass(frozen=True)
class Measured:
    """A number that was measured.

    title: what it is, such as `mlp fp32: harness / bare loop`. It is unique on a device.
    value: the median over the rounds.
    unit: ratio, ms, s, share (0 to 1), MiB, runs/h or batches.
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


def machine(place: str) -> Machine:
    """The machine with the device `cpu` or `cuda:N`, which is made ready in this process."""
    return Machine(place, devices.ready(place))


def of_rounds(title: str, rounds: Sequence[float], unit: str = "ratio") -> Measured:
    """The median over rounds, with the smallest and the largest of them.

    >>> of_rounds("a", [4.0, 1.0, 2.0]).value
    2.0
    """
    return Measured(title, statistics.median(rounds), unit, min(rounds), max(rounds))


def seconds(work: Work, device: torch.device, here: bool = True) -> float:
    """The time of some work, until the device has finished what was queued.

    here: whether this process does all of it. On a CPU these are then CPU seconds of the process, which has one thread:
    the seconds of an idle machine, whatever else runs there.
    """
    clock = time.process_time if here and device.type == "cpu" else time.perf_counter
    devices.synchronise(device)
    began = clock()
    work()
    devices.synchronise(device)
    return clock() - began


def in_turns(
    works: Sequence[Work], device: torch.device, least: int | None = None, here: bool = True
) -> list[list[float]]:
    """Seconds of each work in each round, (works, rounds): the works take turns, after a round that is not counted.

    Whatever else the machine does then slows all of them equally. There are `least` rounds (by default 3), and more
    where they are short. here: as in `seconds`.
    """
    for work in works:
        work()
    least, taken = least or LEAST, list[list[float]]()
    while len(taken) < least or (len(taken) < MOST and sum(map(sum, taken)) < ENOUGH):
        taken.append([seconds(work, device, here) for work in works])
    return [list(column) for column in zip(*taken, strict=True)]


def ratio(title: str, ours: Sequence[float], theirs: Sequence[float]) -> Measured:
    """The ratio of two times, round by round."""
    return of_rounds(title, [a / b for a, b in zip(ours, theirs, strict=True)])
