"""Rows of runs with values that are better, worse or alike: what the tests of claims share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcr_bench.bench.analysis.compared import Comparison
from mcr_bench.bench.analysis.comparisons import comparisons

SEEDS = range(10)


def run(method: str, seed: int, value: float, **changes: Any) -> dict[str, Any]:
    tags = {"role": {"ensemble": "ensemble", "unimodal": "unimodal"}.get(method, "method"), "modalities": "a,b"}
    tags |= {"config": method, "data_identity": "d", "overrides": "", "dataset_source": "toy.npz"}
    metrics = {
        "test/accuracy": value,
        "test/macro_f1": value / 2,
        "data/test_samples": 20.0,
        "data/train_samples": 80.0,
    }
    row = {"key": f"{method}{seed}", "method": method, "label": method, "dataset": "toy.npz", "protocol": "file"}
    row |= {"fold": 1, "seed": seed, "preset": "default", "status": "finished", "metric": "accuracy", "value": value}
    row |= {"unimodal": {}, "seconds": 1.0, "seconds_per_step": 0.1, "run_id": f"{method}-{seed}", "started": seed}
    nested = {name: values | changes.pop(name, {}) for name, values in (("tags", tags), ("metrics", metrics))}
    return row | nested | {"params": {}} | changes


def compared(values: Mapping[str, list[float]], **changes: Any) -> Comparison:
    rows = [run(m, s, v, **dict(changes)) for m, found in values.items() for s, v in enumerate(found)]
    (found,) = comparisons(rows, "joint")
    return found


def noisy(shift: float, seed: int = 0, count: int = 10) -> list[float]:
    return (0.5 + shift + 0.01 * np.random.default_rng(seed).standard_normal(count)).tolist()


BASE = noisy(0)
