"""The part of `make perf` on waiting: the share of a training epoch in which the model waits for its batches."""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.frames import FRAMES, SIZE, SPECTRUM, cached_split, random_cache
from mcr_bench.bench.perf.measured import LEAST, Machine, Measured, in_turns, of_rounds
from mcr_bench.bench.perf.workloads import Workload, precisions, reference_method, training_run, workloads
from mcr_bench.bench.problem.stored import StoredRows
from mcr_bench.bench.training.loop import train_epoch
from mcr_bench.bench.training.placing import place_of, placed
from mcr_bench.datasets.base import Batch, Split

Kind = TypeVar("Kind", bound=Split)
CLIPS = {"cpu": 16, "cuda": 320}
COPIES = {"cpu": 1, "cuda": 3}  # every epoch begins with a batch that nobody has read ahead: 30 steps, not 10


def waiting(machine: Machine) -> Iterator[Measured]:
    """Joint training of the networks of images, from a cache of 256-pixel frames with random crops."""
    name, workload = next(iter(workloads(machine).items()))
    frames = workload._replace(shapes={"m1": (1, *SPECTRUM), "m2": (FRAMES, 3, SIZE, SIZE)})
    with tempfile.TemporaryDirectory() as folder:
        kind = "cuda" if machine.kind == "cuda" else "cpu"
        split = cached_split(random_cache(Path(folder), CLIPS[kind]), augment=True, copies=COPIES[kind])
        split = split.to(machine.device)
        if machine.kind != "cuda":
            yield of_a_cpu(machine, f"waiting for data: {name} fp32", frames, split)
            return
        for precision in (p for p in precisions(machine, workload) if p != "tf32"):
            yield from of_a_gpu(machine, f"{name} {precision}", frames, precision, split)
        yield pinned_batches(machine, frames, split)


def of_a_cpu(machine: Machine, title: str, workload: Workload, split: Split) -> Measured:
    """The time that making the batches takes, over that of the epoch: one thread does both."""
    clocked = _copied(Clocked, split)
    run = training_run(machine, workload, reference_method(), split=clocked)
    shares = []
    for _ in range(LEAST):
        clocked.seconds, began = 0.0, time.process_time()
        train_epoch(run)
        shares.append(clocked.seconds / (time.process_time() - began))
    return of_rounds(title, shares, "share")


def of_a_gpu(
    machine: Machine, title: str, workload: Workload, precision: Precision, split: Split
) -> Iterator[Measured]:
    """1 - t / T, where T is the time of an epoch, and t that of the same epoch when its batches lie ready there.

    Measured with rows that a thread reads ahead from the disk, and with rows in the memory of the device, if there is
    room for them.
    """
    sources = {"read ahead": split}
    (brought,) = placed([split], machine.device)
    if place_of(brought) == "device":
        sources["on the device"] = brought
    parts = [ready(split, workload.batch), *sources.values()]
    runs = [training_run(machine, workload, reference_method(), precision, split=part) for part in parts]
    at_once, *taken = in_turns([partial(train_epoch, run) for run in runs], machine.device)
    for source, times in zip(sources, taken, strict=True):
        shares = [1 - best / slow for best, slow in zip(at_once, times, strict=True)]
        yield of_rounds(f"waiting for data, {source}: {title}", shares, "share")


def pinned_batches(machine: Machine, workload: Workload, split: Split) -> Measured:
    """The largest number of batches of one modality that are in pinned memory at a time during an epoch."""
    watched = _copied(Watched, split)
    train_epoch(training_run(machine, workload, reference_method(), split=watched))
    return of_rounds("reader: pinned batches, most at a time", [float(watched.most)], "batches")


class Clocked(Split):
    """A split that adds up the seconds that making its training batches takes."""

    seconds = 0.0

    def training_batch(self, index: Tensor) -> Batch:
        """The batch of the samples at `index` (B,)."""
        began = time.process_time()
        batch = super().training_batch(index)
        self.seconds += time.process_time() - began
        return batch


class Watched(Split):
    """A split that counts, whenever a batch is asked for, the batches that are in pinned memory."""

    most = 0

    def training_batch(self, index: Tensor) -> Batch:
        """The batch of the samples at `index` (B,)."""
        batch = super().training_batch(index)
        rows = [x.row for x in self.values.values() if isinstance(x, StoredRows)]
        self.most = max(self.most, *(_pinned(row) for row in rows))
        return batch


class Ready(Split):
    """A split whose batches are made before training, and lie on the device: nobody waits for them."""

    def training_batch(self, index: Tensor) -> Batch:
        """As many samples as `index` (B,) asks for, always the first ones."""
        return self.batch(torch.arange(len(index), device=self.target.device))


def ready(split: Split, batch: int) -> Ready:
    """The samples of the first batch of a split, augmented once, in place of all its samples."""
    made = split.training_batch(torch.arange(min(batch, len(split)), device=split.target.device))
    return Ready(made.inputs.values, split.target, split.ids)


def _copied(kind: type[Kind], split: Split) -> Kind:
    """The same samples in a split of another class."""
    return kind(**{field.name: getattr(split, field.name) for field in fields(split)})


def _pinned(row: Sequence[int]) -> int:
    """How many tensors in pinned memory hold blocks of such rows."""
    alive = [x for x in gc.get_objects() if type(x) is Tensor and x.ndim == len(row) + 1]
    blocks = [x for x in alive if tuple(x.shape[1:]) == tuple(row) and x.is_pinned()]
    return len({x.untyped_storage().data_ptr() for x in blocks})
