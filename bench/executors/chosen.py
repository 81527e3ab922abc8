"""Executors by name: `local`, `ray`, and the entry points of other packages in the group `mcr_bench.executors`."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from mcr_bench.bench.core.faults.full_disk import full_disk_told
from mcr_bench.bench.errors import Unavailable, UserError, in_words, unknown
from mcr_bench.bench.executors.base import Executor, TrainingPlan
from mcr_bench.bench.executors.cluster.executor import RayExecutor
from mcr_bench.bench.executors.local import LocalExecutor
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Failure, Observer, Outcome

GROUP = "mcr_bench.executors"
LOCAL = "local"
OURS: dict[str, Callable[[], Executor]] = {LOCAL: LocalExecutor, "ray": RayExecutor}


def executor_names() -> list[str]:
    """The names of all executors that are installed; none of them is loaded."""
    return sorted({*OURS, *(point.name for point in entry_points(group=GROUP))})


def executor(name: str) -> Executor:
    """The executor with this name; UserError if there is none, or if it cannot be loaded."""
    if name in OURS:
        return OURS[name]()
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _loaded(point)
    raise unknown("executor", name, executor_names())


def carry_out(chosen: Executor, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
    """The outcome of the plan, all of it on record.

    UserError if the executor does not return one; FullDisk if nothing can be recorded, and Unavailable if the record is
    on a server that cannot be reached at the end.
    """
    try:
        outcome = _outcome(chosen, plan, record, observer)
        refused = record.settle()
    except Unavailable:
        raise
    except BaseException:
        record.leave()
        raise
    for spec in [spec for spec in outcome.finished if spec.key in refused]:
        reason = f"trained, but the tracking server does not take it: {refused[spec.key]}"
        outcome.finished.remove(spec)
        outcome.failed.append(Failure(spec, reason, None))
    return outcome


def _outcome(chosen: Executor, plan: TrainingPlan, record: Record, observer: Observer) -> Outcome:
    with full_disk_told():
        outcome = chosen.execute(plan, record, observer)
    if not isinstance(outcome, Outcome):
        raise UserError(
            f"the executor {type(chosen).__name__} returned {type(outcome).__name__} instead of an outcome. Let its "
            "`execute` end with `return jobs.outcome`, or use --executor local."
        )
    return outcome


def _loaded(point: EntryPoint) -> Executor:
    place = f"executor '{point.name}' (entry point {point.value})"
    try:
        made: Executor = point.load()()
    except Exception as error:  # of any type: it is somebody else's code
        raise UserError(f"{place} cannot be loaded: {in_words(error)}. Update or remove its package.") from error
    if not callable(getattr(made, "execute", None)):
        raise UserError(f"{place} has no method execute(plan, record, observer). Update or remove its package.")
    return made
