"""A run as the record's store holds it, and the row that tables and statistics read."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

Row = dict[str, Any]
PREFIX = "mcr-bench/"  # of experiment names; the rest is the dataset


@dataclass(frozen=True)
class StoredRun:
    """status: as MLflow says it (FINISHED, FAILED, KILLED, RUNNING); started: ms since 1970; metrics: latest values."""

    run_id: str
    status: str
    started: int
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @classmethod
    def of(cls, run: Any) -> "StoredRun":
        """From MLflow's own entity."""
        info, data = run.info, run.data
        return cls(info.run_id, info.status, info.start_time, dict(data.metrics), dict(data.params), dict(data.tags))


class Reader(Protocol):
    """Where runs are read from."""

    def read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        """The runs of the record that nobody deleted; None = of every dataset, of every key."""
        ...


def newest(runs: Iterable[StoredRun]) -> dict[str, StoredRun]:
    """Key -> its newest finished run, or its newest where none is finished."""
    ordered = sorted(runs, key=lambda run: (run.finished, run.started))
    return {run.tags["key"]: run for run in ordered if "key" in run.tags}


def row_of(run: StoredRun) -> Row:
    """The row that `Record.rows` describes."""
    metric, place = run.tags.get("metric", ""), "test/modality/"
    unimodal = {k.removeprefix(place).rpartition("/")[0]: v for k, v in run.metrics.items() if k.startswith(place)}
    return {
        **{name: run.tags.get(name, "") for name in ("key", "method", "label", "dataset", "protocol")},
        **{name: int(run.tags.get(name, -1)) for name in ("fold", "seed")},
        "preset": run.tags.get("preset", ""),
        "status": run.status.lower(),
        "metric": metric,
        "value": run.metrics.get(f"test/{metric}"),
        "unimodal": unimodal,
        "seconds": run.metrics.get("cost/seconds"),
        "seconds_per_step": run.metrics.get("cost/seconds_per_step"),
        "run_id": run.run_id,
        "started": run.started / 1000,
        "metrics": run.metrics,
        "params": run.params,
        "tags": run.tags,
    }
