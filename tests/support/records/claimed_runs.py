"""Rows of runs with values that are better, worse or alike: what the tests of claims share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.record.row import RunRow
from mcr_bench.tests.support.records.run_rows import run_row

SEEDS = range(10)


def run(method: str, seed: int, value: float | None, **changes: Any) -> RunRow:
    """One finished run of a comparison; `tags` and `metrics` in `changes` are laid over the defaults."""
    tags = {"data_identity": "d", "modalities": "a,b", "dataset_source": "toy.npz"} | changes.pop("tags", {})
    metrics = {"test/macro_f1": (value or 0) / 2, "data/test_samples": 20.0, "data/train_samples": 80.0}
    defaults = {"dataset": "toy.npz", "protocol": "file", "started": seed, "seconds": 1.0, "seconds_per_step": 0.1}
    given = defaults | changes | {"metrics": metrics | changes.pop("metrics", {})}
    return run_row(method, seed, value, tags=tags, **given)


def compared(values: Mapping[str, list[float]], **changes: Any) -> Comparison:
    rows = [run(m, s, v, **dict(changes)) for m, found in values.items() for s, v in enumerate(found)]
    (found,) = comparisons(rows, "joint")
    return found


def noisy(shift: float, seed: int = 0, count: int = 10) -> list[float]:
    return (0.5 + shift + 0.01 * np.random.default_rng(seed).standard_normal(count)).tolist()


BASE = noisy(0)
