"""A run as the record's store holds it, before anybody has asked whether that can be: all text and numbers."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from mcr_bench.bench.record.row import Asked
from mcr_bench.bench.record.tags import PRESETS, presets_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from mcr_bench.bench.runs.spec import RunSpec

PREFIX = "mcr-bench/"  # of experiment names; the rest is the dataset
MARKS = ("data_identity", "method_digest", "config")  # tags that runs of other programs do not have


@dataclass(frozen=True)
class StoredRun:
    """One run of the store.

    run_id: its name in MLflow.
    status: as MLflow says it: FINISHED, FAILED, KILLED, RUNNING.
    started: milliseconds since 1970.
    metrics: name -> the last value logged.
    params: settings, as text.
    tags: what else is said of the run, as text.
    ended: milliseconds since 1970; None for a run that goes on.
    artifacts: address of the folder with its files.
    """

    run_id: str
    status: str
    started: int
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]
    ended: int | None = None
    artifacts: str = ""

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @classmethod
    def of(cls, run: "Run") -> "StoredRun":
        """From MLflow's own entity."""
        info, data = run.info, run.data
        parts = (dict(data.metrics), dict(data.params), dict(data.tags))
        return cls(info.run_id, info.status, info.start_time or 0, *parts, info.end_time, info.artifact_uri)


class Reader(Protocol):
    """Where runs are read from."""

    def read(self, dataset: str | None = None, keys: Collection[str] | None = None) -> list[StoredRun]:
        """The runs of the record that nobody deleted; None = of every dataset, of every key."""
        ...


def preset_tags(stored: Sequence[StoredRun], asked: Iterable["RunSpec"]) -> dict[str, str]:
    """Run id -> its tag `presets`, for the finished runs that lack a preset under which `asked` asks for them.

    stored: every run of the keys; what an older run of a key was asked for under counts for its newest. A run whose
    tag cannot be read keeps it as it is.
    """
    every: dict[str, dict[str, Asked]] = {}
    for run in stored:
        known = every.setdefault(run.tags.get("key", ""), {})
        every[run.tags.get("key", "")] = (_asked(run) or {}) | known
    for spec in asked:
        every.get(spec.key, {}).setdefault(spec.preset, Asked(spec.preset_origin, spec.overrides))
    tags: dict[str, str] = {}
    for group in by_key(run for run in stored if run.tags.get("key")):
        run, mine = group[0], _asked(group[0])
        wanted = every[run.tags["key"]]
        if run.finished and mine is not None and wanted.keys() > mine.keys():
            others = {name: asdict(one) for name, one in wanted.items() if name != run.tags.get("preset")}
            tags[run.run_id] = json.dumps(others)
    return tags


def by_key(stored: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """For each key the runs that may stand for it: its finished ones, or all where none is; the newest first.

    A run of ours that has lost its key stands alone; runs that this program did not write are left out.
    """
    groups: dict[str, list[StoredRun]] = {}
    for run in sorted(stored, key=lambda run: (run.finished, run.started), reverse=True):
        key = run.tags.get("key") or (f"no key: {run.run_id}" if any(mark in run.tags for mark in MARKS) else "")
        group = groups.setdefault(key, [])
        if not group or group[0].finished == run.finished:
            group.append(run)
    return [group for key, group in groups.items() if key]


def _asked(run: StoredRun) -> dict[str, Asked] | None:
    """Every preset that a run was asked for under, the one that trained it first; None where its tags cannot say."""
    others, tags = presets_of(run.tags.get(PRESETS) or "{}"), run.tags
    own = {tags.get("preset", ""): Asked(tags.get("preset_origin", ""), tags.get("overrides", ""))}
    return None if others is None else own | others
