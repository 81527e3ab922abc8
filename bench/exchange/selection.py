"""Which runs of a record are meant: by key, name in MLflow, method, dataset, seed and status."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.record.runs import MARKS, StoredRun

STATUSES = ("finished", "failed", "killed", "running")
SHORTEST = 4  # characters of the beginning of a key or of a name in MLflow


@dataclass(frozen=True)
class Selection:
    """What runs must have in common; what is empty does not select.

    keys: the beginnings of keys or of names in MLflow, one of which a run must have.
    methods, datasets, seeds, statuses: names and numbers, one of each of which a run must have.
    """

    keys: Sequence[str] = ()
    methods: Sequence[str] = ()
    datasets: Sequence[str] = ()
    seeds: Sequence[int] = ()
    statuses: Sequence[str] = ()

    def __post_init__(self) -> None:
        for key in self.keys:
            if len(key) < SHORTEST:
                raise UserError(f"--key '{key}' is too short. Give at least {SHORTEST} characters of a key or run id.")
        for status in self.statuses:
            if status not in STATUSES:
                raise unknown("status", status, STATUSES)

    @property
    def empty(self) -> bool:
        """Whether nothing is selected by."""
        return not any(vars(self).values())

    def of(self, runs: Iterable[StoredRun]) -> list[StoredRun]:
        """The runs of this program that are meant, in their order. UserError for a key or name that no run has."""
        mine = [run for run in runs if run.tags.get("key") or any(mark in run.tags for mark in MARKS)]
        for key in self.keys:
            if not any(_has(run, key) for run in mine):
                raise UserError(f"no run here has a key or run id that begins with '{key}'. See: mcr-bench results")
        for name, asked in (("method", self.methods), ("dataset", self._names)):
            known = {run.tags.get(name, "") for run in mine}
            for one in asked if mine else ():
                if one not in known:
                    raise unknown(f"{name} on record", one, known)
        return [run for run in mine if self._means(run)]

    @property
    def _names(self) -> list[str]:
        """Datasets as tables call them: a path by the name of its file."""
        return [Path(name).name if "/" in name else name for name in self.datasets]

    def _means(self, run: StoredRun) -> bool:
        asked: list[tuple[Sequence[object], object]] = [
            (self.methods, run.tags.get("method")),
            (self._names, run.tags.get("dataset")),
            ([str(seed) for seed in self.seeds], run.tags.get("seed")),
            (self.statuses, run.status.lower()),
        ]
        by_key = not self.keys or any(_has(run, key) for key in self.keys)
        return by_key and all(not wanted or value in wanted for wanted, value in asked)


def _has(run: StoredRun, key: str) -> bool:
    return run.tags.get("key", "").startswith(key) or run.run_id.startswith(key)
