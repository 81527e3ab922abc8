"""Which runs of a record are meant: by key, name in MLflow, method, dataset, seed and status."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.record.given_data import Given, meant
from mcr_bench.bench.record.runs import MARKS, StoredRun

STATUSES = ("finished", "failed", "killed", "running")
SHORTEST = 4  # characters of the beginning of a key or of a name in MLflow


@dataclass(frozen=True)
class Selection:
    """What runs must have in common; what is empty does not select.

    keys: the beginnings of keys or of names in MLflow, one of which a run must have.
    methods, seeds, statuses: names and numbers, one of each of which a run must have.
    datasets: names in tables, or files that runs were given, one of which a run must be on; a file leaves out the runs
        on another file of the same name.
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
        known = {run.tags.get("method", "") for run in mine}
        for method in self.methods if mine else ():
            if method not in known:
                raise unknown("method on record", method, known)
        on = {run.run_id for name in self.datasets if mine for run in _on(mine, name)}
        return [run for run in mine if self._means(run) and (not self.datasets or run.run_id in on)]

    def _means(self, run: StoredRun) -> bool:
        asked: list[tuple[Sequence[object], object]] = [
            (self.methods, run.tags.get("method")),
            ([str(seed) for seed in self.seeds], run.tags.get("seed")),
            (self.statuses, run.status.lower()),
        ]
        by_key = not self.keys or any(_has(run, key) for key in self.keys)
        return by_key and all(not wanted or value in wanted for wanted, value in asked)


def _on(runs: Sequence[StoredRun], asked: str) -> list[StoredRun]:
    """The runs on a dataset, by its name in tables or what they were given; UserError for any other."""
    mine, named = meant(asked, runs, _given)
    if named:
        files, name = ", ".join(sorted({_given(run).source for run in named})), _given(named[0]).dataset
        raise UserError(
            f"no run was given '{asked}'; the runs on {name} were given {files}. Name one of these, or {name} for all."
        )
    return mine


def _given(run: StoredRun) -> Given:
    return Given(*(run.tags.get(name) or "" for name in ("dataset", "dataset_source", "fingerprint")))


def _has(run: StoredRun, key: str) -> bool:
    return run.tags.get("key", "").startswith(key) or run.run_id.startswith(key)
