"""A run as the record's store holds it, and the row that tables and statistics read."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

Row = dict[str, Any]
PREFIX = "mcr-bench/"  # of experiment names; the rest is the dataset
PRESETS = "presets"  # the tag of a run that was asked for under more presets than the one that trained it


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


def asked_presets(preset: str, tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Every preset that a run was asked for under, with its origin and the `--set` settings given beside it.

    preset: under which it was trained, which comes first.
    """
    own = {"origin": tags.get("preset_origin", ""), "overrides": tags.get("overrides", "")}
    found: dict[str, dict[str, str]] = {preset: own} | json.loads(tags.get(PRESETS, "{}"))
    return found


def preset_tags(stored: Sequence[StoredRun], asked: Iterable["RunSpec"]) -> dict[str, str]:
    """Run id -> its tag `presets`, for the finished runs that lack a preset under which `asked` asks for them.

    stored: every run of the keys; what an older run of a key was asked for under counts for its newest.
    """
    finished = {key: run for key, run in newest(stored).items() if run.finished}
    every: dict[str, dict[str, dict[str, str]]] = {}
    for run in stored:
        known = every.setdefault(run.tags.get("key", ""), {})
        every[run.tags.get("key", "")] = asked_presets(run.tags.get("preset", ""), run.tags) | known
    for spec in asked:
        more = {"origin": spec.preset_origin, "overrides": spec.overrides}
        every.get(spec.key, {}).setdefault(spec.preset, more)
    return {
        run.run_id: json.dumps({name: every[key][name] for name in every[key] if name != run.tags.get("preset")})
        for key, run in finished.items()
        if every[key].keys() > asked_presets(run.tags.get("preset", ""), run.tags).keys()
    }


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
