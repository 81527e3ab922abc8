"""Runs as the store holds them, and their rows, made by hand from as little as a test cares about."""

from collections.abc import Mapping
from typing import Any

from mcr_bench.bench.record.made_rows import row_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import StoredRun

ALONE = ("unimodal", "ensemble")  # methods whose role is called as they are


def run_tags(method: str = "joint", seed: int = 0, **named: object) -> dict[str, str]:
    """The tags that every run has; `named` are others, or others' values."""
    given = {
        "key": f"{method}{seed}",
        "method": method,
        "label": method,
        "role": method if method in ALONE else "method",
        "dataset": "toy",
        "data_identity": "identity of toy",
        "modalities": "audio,video",
        "protocol": "official",
        "fold": 1,
        "seed": seed,
        "preset": "default",
        "metric": "accuracy",
        "config": method,
    } | named
    return {name: str(text) for name, text in given.items()}


def stored_run(
    method: str = "joint",
    seed: int = 0,
    value: float | None = 0.5,
    *,
    metric: str = "accuracy",
    status: str = "finished",
    started: float = 0.0,
    run_id: str = "",
    unimodal: Mapping[str, float] | None = None,
    seconds: float | None = None,
    seconds_per_step: float | None = None,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    params: Mapping[str, str] | None = None,
    **named: object,
) -> StoredRun:
    """A run of two modalities on the data `toy`.

    value: of its metric on the test part, None for none. named: further tags, such as fold or preset. tags, metrics,
    params: beside or instead of the others; a metric that is None is not on record.
    """
    numbers: dict[str, float | None] = {f"test/{metric}": value}
    numbers |= {f"test/modality/{m}/{metric}": one for m, one in (unimodal or {}).items()}
    numbers |= {"cost/seconds": seconds, "cost/seconds_per_step": seconds_per_step} | dict(metrics or {})
    known = {name: one for name, one in numbers.items() if one is not None}
    every = run_tags(method, seed, metric=metric, **named) | dict(tags or {})
    name = run_id or f"{every['label']}-{seed}"
    return StoredRun(name, status.upper(), int(started * 1000), known, dict(params or {}), every)


def run_row(method: str = "joint", seed: int = 0, value: float | None = 0.5, **more: Any) -> RunRow:
    """The row of `stored_run`."""
    return row_of(stored_run(method, seed, value, **more))
