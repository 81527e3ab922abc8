"""Runs that a record shall not show any more: MLflow keeps them in its state `deleted`, from which they come back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from filelock import Timeout

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.exchange.selection import Selection
from mcr_bench.bench.exchange.target import Target
from mcr_bench.bench.exchange.whole import KEY
from mcr_bench.bench.executors.places import key_lock
from mcr_bench.bench.record.runs import StoredRun


@dataclass(frozen=True)
class Hiding:
    """What is to be hidden, or brought back.

    runs: the runs that are meant.
    training: those that are not, as a command trains them now.
    needing: finished runs that stay and start from one of them.
    """

    runs: list[StoredRun]
    training: list[StoredRun]
    needing: list[StoredRun]

    @property
    def rows(self) -> list[dict[str, object]]:
        """One row per run, for a table."""
        names = ("label", "dataset", "fold", "seed")
        return [
            {"run id": run.run_id, "key": run.tags.get("key", "")}
            | dict[str, object]({name: run.tags.get(name, "") for name in names})
            | {"status": run.status.lower()}
            for run in self.runs
        ]


def to_hide(target: Target, selection: Selection) -> Hiding:
    """The runs that a selection means, with what depends on them. UserError for one that selects by nothing."""
    if selection.empty:
        raise UserError("name the runs to hide: --key, --method, --dataset, --seeds or --status.")
    every = target.runs()
    meant = selection.of(every)
    training = [run for run in meant if run.status == "RUNNING" and _is_trained(target, run)]
    runs = [run for run in meant if run not in training]
    return Hiding(runs, training, _needing(every, runs))


def hidden(target: Target, selection: Selection) -> Hiding:
    """The hidden runs that a selection means; all, if it selects by nothing."""
    return Hiding(selection.of(target.hidden_runs()), [], [])


def hide(target: Target, runs: Iterable[StoredRun]) -> None:
    """Hide these runs, each at once."""
    for run in runs:
        target.hide(run.run_id)


def bring_back(target: Target, runs: Iterable[StoredRun]) -> None:
    """Show these hidden runs again."""
    for run in runs:
        target.bring_back(run.run_id)


def _needing(every: Sequence[StoredRun], runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The finished runs that start from a key which none but these runs has finished."""
    ids = {run.run_id for run in runs}
    stay = [run for run in every if run.finished and run.run_id not in ids]
    lost = {run.tags.get("key", "") for run in runs} - {run.tags.get("key", "") for run in stay} - {""}
    return [run for run in stay if lost & set(run.tags.get("dependencies", "").split(","))]


def _is_trained(target: Target, run: StoredRun) -> bool:
    """Whether a command on this machine trains it now."""
    key = run.tags.get("key", "")
    if not KEY.fullmatch(key):
        return False
    try:
        with key_lock(target.home, key).acquire(timeout=0):
            return False
    except Timeout:
        return True
