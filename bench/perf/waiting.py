"""The part of `make perf` on waiting: the share of a training epoch in which the model waits for its batches."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mcr_bench.bench.perf.frames import FRAMES, SIZE, SPECTRUM, cached_split, random_cache
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, of_rounds
from mcr_bench.bench.perf.workloads import Workload, precisions, reference_method, training_run, workloads
from mcr_bench.bench.training.loop import train_epoch
from mcr_bench.datasets.base import Batch, Split

CLIPS = {"cpu": 32, "cuda": 320}
ROUNDS = 5


class Ready(Split):
    """A split whose batches are made before training, and lie on the device: nobody waits for them."""

    made: dict[int, Batch]

    def training_batch(self, index: torch.Tensor) -> Batch:
        """A batch with as many samples as `index` (B,) asks for, always the same."""
        return self.made[len(index)]


def waiting(machine: Machine) -> Iterator[Measured]:
    """Joint training of the networks of images, from a cache of 256-pixel frames with random crops.

    1 - t / T, where T is the time of an epoch, and t that of the same epoch when its batches lie ready on the device.
    """
    name, workload = next(iter(workloads(machine).items()))
    with tempfile.TemporaryDirectory() as folder:
        split = cached_split(
            random_cache(Path(folder), CLIPS["cuda" if machine.kind == "cuda" else "cpu"]), augment=True
        )
        for precision in (p for p in precisions(machine, workload) if p != "tf32"):
            yield share(machine, f"waiting for data: {name} {precision}", workload, precision, split)


def share(machine: Machine, title: str, workload: Workload, precision: str, split: Split) -> Measured:
    """The share of an epoch over a split on disk in which the model waits."""
    frames = workload._replace(shapes={"m1": (1, *SPECTRUM), "m2": (FRAMES, 3, SIZE, SIZE)})
    parts = (split.to(machine.device), ready(split.to(machine.device), workload.batch))
    runs = [training_run(machine, frames, reference_method(), precision, split=part) for part in parts]
    cached, at_once = in_turns([partial(train_epoch, run) for run in runs], machine.device, ROUNDS)
    return of_rounds(title, [1 - b / a for a, b in zip(cached, at_once, strict=True)], "share")


def ready(split: Split, batch: int) -> Ready:
    """The same split with one batch of each size, made now."""
    made = Ready(split.values, split.target, split.ids)
    sizes = {batch, len(split) % batch or batch}
    made.made = {
        size: split.training_batch(torch.from_numpy(np.arange(size)).to(split.target.device)) for size in sizes
    }
    return made
