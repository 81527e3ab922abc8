"""Array files whose samples have several labels or several scores, and runs on them."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array

SPLIT = np.repeat(["train", "val", "test", "train"], [36, 24, 24, 12])
COUNT = len(SPLIT)


def labels(count: int = 4) -> Array:
    """(96, count) of 0 and 1: each label has a share of its own, and some samples have none."""
    draws = np.random.default_rng(2)
    return (draws.uniform(size=(COUNT, count)) < np.linspace(0.3, 0.6, count)).astype(np.int64)


def scores(count: int = 3) -> Array:
    """(96, count) in units of different size."""
    draws = np.random.default_rng(3)
    return draws.normal(size=(COUNT, count)) * 10.0 ** np.arange(count) + np.arange(count)


def save(path: Path, y: Array, **more: Array) -> Path:
    """Two modalities, each of which knows something of the targets `y` (96, L)."""
    draws = np.random.default_rng(0)
    known = ((y - y.mean(0)) / y.std(0)).reshape(COUNT, -1)
    a = draws.normal(size=(COUNT, known.shape[1])) + known
    b = draws.normal(size=(COUNT, known.shape[1])) + known[:, ::-1]
    groups = np.array([f"g{i // 12}" for i in range(COUNT)])
    arrays = {"y": y, "split": SPLIT, "x_a": a.astype("float32"), "x_b": b.astype("float32"), "group": groups}
    np.savez(path, **(arrays | more))  # type: ignore[arg-type]
    return path
