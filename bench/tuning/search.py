"""The search: every method has the same number of trials over its declared ranges, and validation alone selects.

Trial 0 has the preset's own settings, the others are drawn at random. A method that starts from the runs of another one
is searched after it, and starts from its best trial.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.local import execute as train_locally
from mcr_bench.bench.executors.places import weights_file
from mcr_bench.bench.planning.plan import Plan, make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.store import database_uri
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Failure, Outcome
from mcr_bench.bench.settings.declaration import Declared, Value
from mcr_bench.bench.tuning.request import Subject, TuneRequest, prepare
from mcr_bench.bench.tuning.result import Search, Trial, Tuned, TuneResult, keep

if TYPE_CHECKING:
    from mcr_bench.bench.runs.spec import RunSpec

Note = Callable[[str], object]
Trials = dict[tuple[str, int], "list[RunSpec]"]


class Execute(Protocol):
    """Trains runs and records them, as `mcr_bench.bench.executors.local.execute` does."""

    def __call__(
        self, specs: "Sequence[RunSpec]", record: Record, *, done: int, keep_weights: "Callable[[RunSpec], bool]"
    ) -> Outcome: ...


def tuning_record(home: Path | None = None, note: Note = lambda _: None) -> Record:
    """The record of trials in HOME/tuning, separate from that of comparisons, and always local."""
    folder = (home or default_home()).resolve() / "tuning"
    return Record(database_uri(folder / "mlflow.db"), folder, note)


def tune(
    request: TuneRequest,
    home: Path | None = None,
    execute: Execute = train_locally,
    note: Note = lambda _: None,
) -> TuneResult:
    """Search the settings of every method, write the preset, and return the result.

    Finished runs are not trained again, so an interrupted search is continued, and a longer search continues a shorter
    one. Of a run only `selected_val/METRIC` is read. UserError for anything that is unknown or does not fit, and if no
    trial of any method finishes. note: is called with a line for each trial that cannot be read.
    """
    home = (home or default_home()).resolve()
    search, stages, skipped, notes = prepare(request, home)
    for line in notes:
        note(line)
    record, results, failed = tuning_record(home, note), dict[str, Tuned](), list[Failure]()
    without = list[str]()
    for place, stage in enumerate(stages):
        needed = {name for later in stages[place + 1 :] for subject in later for name in subject.starts_from}
        trials = _trials(request, stage, results)
        failed += _train(trials, record, search.dataset, needed, execute)
        rows = record.finished({run.key for runs in trials.values() for run in runs}, search.dataset)
        without += valueless(rows.values(), f"selected_val/{search.metric}")
        for subject in stage:
            results[subject.name] = _tuned(subject, trials, rows, search)
            if subject.name in needed:
                _forget_weights(results[subject.name], trials, record.home)
    if not any(tuned.best for tuned in results.values()):
        reasons = {failure.reason: failure.told for failure in failed}
        told = [*reasons.values(), *dict.fromkeys(without)][:3]
        raise UserError(f"no trial finished with a value, so no preset is written: {'; '.join(told)}.")
    path, kept, lost = keep(search, list(results.values()), home)
    return TuneResult(search, list(results.values()), path, kept, lost, skipped, failed)


def outline(request: TuneRequest, home: Path | None = None) -> list[dict[str, object]]:
    """One row per method, in the order of the search, with what would be tried; nothing is trained or written."""
    prepared = prepare(request, (home or default_home()).resolve())
    return [
        {
            "stage": place,
            "method": subject.name,
            "trials": len(subject.settings),
            "runs": len(subject.settings) * subject.runs,
            "starts_from": ", ".join(sorted(subject.starts_from)),
            "searched": ", ".join(f"{k.partition('.')[2]} {_space(d)}" for k, d in subject.searched.items()),
        }
        for place, stage in enumerate(prepared.stages, start=1)
        for subject in stage
    ]


def _trials(request: TuneRequest, stage: list[Subject], results: Mapping[str, Tuned]) -> Trials:
    """(method, number of the trial) -> its runs; the runs that these start from have their best settings."""
    trials: Trials = {}
    for number in range(max(len(subject.settings) for subject in stage)):
        subjects = [subject for subject in stage if number < len(subject.settings)]
        before = {name for subject in subjects for name in subject.starts_from}
        settings = {key: value for subject in subjects for key, value in subject.settings[number].items()}
        for name in before:
            best = results[name].best
            settings |= best.settings if best else {}
        plan = make_plan(_only(request, before | {s.name for s in subjects}, [s.source for s in subjects], settings))
        for subject in subjects:
            asked = (run for run in plan.runs if run.key in plan.requested)
            trials[subject.name, number] = [run for run in asked if run.method == subject.name]
    return trials


def _only(request: TuneRequest, names: set[str], sources: list[str], settings: Mapping[str, Value]) -> Request:
    """The request for one trial, without fixed settings of methods that do not take part in it."""
    comparison = request.comparison(sources, settings)
    others = registry.setting_owners() - names
    comparison.overrides = {
        key: value for key, value in comparison.overrides.items() if key.partition(".")[0] not in others
    }
    return comparison


def _train(trials: Trials, record: Record, dataset: str, needed: set[str], execute: Execute) -> list[Failure]:
    """Train the runs of all trials that are not finished, and return the failures."""
    plan = Plan()
    for runs in trials.values():
        for run in runs:
            plan.add(run, requested=True)
    finished = record.finished_keys(plan.by_key, dataset)
    wanted = [run for run in plan.runs if run.key not in finished]
    return execute(wanted, record, done=len(finished), keep_weights=lambda run: run.method in needed).failed


def _tuned(subject: Subject, trials: Trials, rows: Mapping[str, RunRow], search: Search) -> Tuned:
    place = f"selected_val/{search.metric}"

    def value(number: int) -> float | None:
        return _mean(
            rows[run.key].metrics.get(place) if run.key in rows else None for run in trials[subject.name, number]
        )

    tried = [Trial(number, settings, value(number)) for number, settings in enumerate(subject.settings)]
    starts = tuple(sorted(subject.starts_from))
    return Tuned(subject.name, tuple(subject.searched), starts, tried, search.higher_is_better)


def valueless(rows: Iterable[RunRow], place: str) -> list[str]:
    """Why finished runs have no validation value, by which their trials could be compared."""
    lost = [row for row in rows if not math.isfinite(row.metrics.get(place, math.nan))]
    absent = (
        "no reason is on record; with MCR_BENCH_HOME=HOME/tuning, `mcr-bench forget` hides these runs, and the search "
        "trains them again"
    )
    return [f"{place} is missing: {row.why_missing(place) or absent}" for row in lost]


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean over the runs of a trial; None if a run has no value, or one that is not finite."""
    known = [math.nan if value is None else float(value) for value in values]
    mean = math.fsum(known) / len(known)
    return mean if math.isfinite(mean) else None


def _forget_weights(tuned: Tuned, trials: Trials, home: Path) -> None:
    """Only the best trial's weights are started from; kept, those of all the others would fill the disk."""
    best = tuned.best.number if tuned.best else 0
    for (method, number), runs in trials.items():
        if method == tuned.method and number != best:
            for run in runs:
                weights_file(home, run).unlink(missing_ok=True)


def _space(d: Declared) -> str:
    assert d.space is not None
    return f"{d.space.low:g} to {d.space.high:g}{' (log)' if d.space.log else ''}"
