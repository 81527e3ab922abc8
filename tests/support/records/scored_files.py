"""An array file of scores in any unit, and the runs of a method on it: what the tests of target scales share."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.tests.support.runs.heads import head_settings

SMALL = {"epochs": ["4"], "batch_size": ["16"], "encoder.width": ["8"], "model.width": ["6"]}
SPLIT = np.array(["train"] * 40 + ["val"] * 12 + ["test"] * 12)


def scores() -> Array:
    """64 skewed scores of both signs, some of them equal and none 0."""
    draws = np.random.default_rng(1)
    return np.asarray(np.round(draws.gamma(2.0, 1.0, 64) - 2.5, 1) + 0.05)


def save(path: Path, y: Array, **more: Array) -> Path:
    """Two modalities that know the scores of `scores()`, or their squares, with noise; the file's scores are `y`."""
    draws, base = np.random.default_rng(0), scores()
    a = draws.normal(size=(64, 4)) + base[:, None]
    b = draws.normal(size=(64, 3)) * 2 + base[:, None] ** 2
    np.savez(path, x_a=a.astype("float32"), x_b=b.astype("float32"), **{"y": y, "split": SPLIT, **more})
    return path


def specs(data: Path, method: str, protocol: str = "file", seed: int = 3, **overrides: str) -> list[RunSpec]:
    """The runs of one method, dependencies first; two underscores stand for a dot."""
    values = SMALL | head_settings(method) | {k.replace("__", "."): [v] for k, v in overrides.items()}
    return make_plan(Request([method], [str(data)], seeds=[seed], protocol=protocol, overrides=values)).runs


def job_of(spec: RunSpec, home: Path) -> Job:
    weights = {run.key: home / "weights" / f"{run.key}.pt" for run in spec.dependencies}
    return Job(spec, "cpu", home / "work" / spec.key, weights, home / "weights" / f"{spec.key}.pt")


def outcome(job: Job) -> dict[str, Any]:
    """A run's curves, final metrics and predictions."""
    events: list[Event] = []
    fit_run(job, events.append)
    epochs = [e.metrics for e in events if isinstance(e, EpochDone)]
    (final,) = (e.metrics for e in events if isinstance(e, RunDone))
    return {"epochs": epochs, "final": final, "table": pq.read_table(job.predictions).to_pandas()}


def trained(data: Path, method: str, home: Path, **overrides: str) -> dict[str, dict[str, Any]]:
    """The outcome of each run of a method by its label."""
    return {spec.label: outcome(job_of(spec, home)) for spec in specs(data, method, **overrides)}
