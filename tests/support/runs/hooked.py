"""Runs of methods in files of a user's, whole or killed after an epoch: what the tests of the hooks share."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.checkpoints import load_weights
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.runs.heads import head_settings
from mcr_bench.tests.support.runs.measured import MEASURED

SMALL = {"epochs": ["4"], "batch_size": ["8"], "encoder.width": ["8"], "model.width": ["6"], "optimizer.lr": ["0.02"]}
HEAD = """
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import EpochBatches, Method, Needs
"""


class Killed(BaseException):
    """Stands for kill -9."""


def method_file(folder: Path, body: str, name: str = "mine") -> str:
    """The file of a method as a user writes it; body: its class, without imports."""
    path = folder / f"{name}.py"
    path.write_text(HEAD + body)
    return str(path)


def array_file(path: Path, count: int = 2, samples: int = 60, seed: int = 0, **more: object) -> str:
    """A file of vectors of `count` modalities a, b, ...: half of it for training. more: further arrays of the file."""
    rng, y = np.random.default_rng(seed), np.arange(samples) % 3
    split = np.repeat(["train", "val", "test"], [samples - 2 * (samples // 4), samples // 4, samples // 4])
    values = {
        f"x_{m}": rng.normal(size=(samples, 3 + i)).astype("float32") + 0.7 * y[:, None]
        for i, m in enumerate("abcdef"[:count])
    }
    arrays = {"y": y, "split": split, **values, **more}
    np.savez(path, **{key: np.asarray(array) for key, array in arrays.items()})
    return str(path)


def runs_of(source: str, data: str, modalities: tuple[str, ...] | None = None, **overrides: str) -> list[RunSpec]:
    """The runs of one method with one seed, dependencies first; two underscores in a key stand for a dot."""
    asked = {key.replace("__", "."): [value] for key, value in overrides.items()}
    values = SMALL | head_settings(source) | asked
    return make_plan(Request([source], [data], modalities=modalities, seeds=[1], overrides=values)).runs


def job_of(spec: RunSpec, home: Path) -> Job:
    weights = {run.key: home / f"{run.key}.pt" for run in spec.dependencies}
    return Job(spec, "cpu", home / spec.key, weights, home / f"{spec.key}.pt")


class Result:
    """What a run gave: metrics of its epochs, final ones, and the weights of its best epoch."""

    def __init__(self, job: Job, events: list[Event]) -> None:
        done = next(e for e in events if isinstance(e, RunDone))
        self.job, self.tags = job, done.tags
        self.epochs = [e.metrics for e in events if isinstance(e, EpochDone)]
        self.final = {k: v for k, v in done.metrics.items() if k not in MEASURED}
        self.weights: dict[str, Tensor] = load_weights(job.weights_out, torch.device("cpu"))


def trained(spec: RunSpec, home: Path, killed_in: int = 0) -> Result:
    """Train a run in this process; killed_in: the epoch at whose end it is killed once, and then resumed."""
    job = job_of(spec, home)

    def dying(event: Event) -> None:
        if isinstance(event, EpochDone) and event.epoch == killed_in:
            raise Killed

    if killed_in:
        try:
            fit_run(job, dying, checkpoint_seconds=0)
        except Killed:
            assert (job.folder / "checkpoint.pt").is_file()
    events: list[Event] = []
    fit_run(job, events.append, checkpoint_seconds=0)
    return Result(job, events)


def same(one: Result, other: Result) -> bool:
    """Whether two runs are equal bit for bit: every metric that no clock measures, and all weights."""
    metrics = one.epochs == other.epochs and one.final == other.final
    return metrics and equal_weights(one.weights, other.weights)


def equal_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same names and the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
