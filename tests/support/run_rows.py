"""Runs as the store holds them, and their rows, made by hand from as little as a test cares about."""

from collections.abc import Mapping

from mcr_bench.bench.record.made_rows import row_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.runs import StoredRun

ROLES = {"unimodal": "unimodal", "ensemble": "ensemble", "joint": "reference"}


def stored_run(
    method: str = "joint",
    seed: int = 0,
    value: float | None = 0.5,
    *,
    metric: str = "accuracy",
    status: str = "finished",
    started: float = 0.0,
    run_id: str = "",
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, str] | None = None,
    **named: object,
) -> StoredRun:
    """A run of two modalities, audio and video, on the data `toy`.

    value: of its metric on the test part, None for none. named: tags that a row has as fields, such as fold or preset;
    an underscore in a name is one in the tag. tags, metrics, params: beside or instead of the others.
    """
    overrides = (tags or {}).get("overrides", "")
    given = {
        "key": f"{method}{overrides}{seed}",
        "method": method,
        "label": f"{method} [{overrides}]" if overrides else method,
        "role": ROLES.get(method, "method"),
        "dataset": "toy",
        "data_identity": "identity of toy",
        "modalities": "audio,video",
        "protocol": "official",
        "fold": 1,
        "seed": seed,
        "preset": "default",
        "metric": metric,
        "config": f"config of {method}",
    } | named
    every = {name: str(text) for name, text in given.items()} | dict(tags or {})
    numbers = ({} if value is None else {f"test/{metric}": value}) | dict(metrics or {})
    name = run_id or f"{every['label']}/{seed}/{every['fold']}"
    return StoredRun(name, status.upper(), int(started * 1000), numbers, dict(params or {}), every)


def run_row(method: str = "joint", seed: int = 0, value: float | None = 0.5, **more: object) -> RunRow:
    """The row of `stored_run`."""
    return row_of(stored_run(method, seed, value, **more))  # type: ignore[arg-type]
