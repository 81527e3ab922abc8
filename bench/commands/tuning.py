"""Run a search: show what would be tried, train it, and show the results."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import print_data, print_json, say
from mcr_bench.bench.commands.running import How
from mcr_bench.bench.executors.chosen import carry_out
from mcr_bench.bench.planning.advice.determinism import require_deterministic_settings
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.fitted import grid_text
from mcr_bench.bench.report.progress import observer
from mcr_bench.bench.runs.events import Observer, Outcome
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.tuning.request import TuneRequest
from mcr_bench.bench.tuning.result import TuneResult
from mcr_bench.bench.tuning.search import outline, tune


def run_search(request: TuneRequest, how: How, plan_only: bool, as_json: bool) -> bool:
    """Run the search, or show its outline; whether no run failed."""
    if how.deterministic:
        require_deterministic_settings(request.overrides)
    if plan_only:
        rows = outline(request)
        print_data(rows, grid_text, as_json)
        return True
    for line in how.notes():
        say(line, err=True)
    with observer(SafeConsole(stderr=True)) as watching:
        result = tune(request, execute=partial(_train, how, watching), note=partial(say, err=True))
    for failure in result.failed:
        say(f"failed: {failure.spec.label}: {failure.told}", err=True)
    if as_json:
        told = {"preset": result.preset, "path": str(result.path), "methods": result.rows(), "skipped": result.skipped}
        print_json(told | {"kept": result.kept, "lost": result.lost})
        return not result.failed
    say(grid_text(result.rows()))
    for dataset, method, reason in result.skipped:
        say(f"left out on {dataset}: {method}: {reason}")
    say(f"preset {result.preset} written to {result.path}; use it with --preset {shlex.quote(result.preset)}")
    for line in _others(result):
        say(line)
    return not result.failed


def _others(result: TuneResult) -> list[str]:
    """What became of the methods that the preset had settings for before."""
    lines = [f"it keeps the settings of {', '.join(result.kept)}, from an earlier search"] if result.kept else []
    if result.lost:
        lines.append(
            f"it replaces an earlier search of other trials, seeds, data or settings, and with it the settings of "
            f"{', '.join(result.lost)}; tune these again like this, or give another --name"
        )
    return lines


def _train(
    how: How,
    watching: Observer,
    runs: Sequence[RunSpec],
    record: Record,
    *,
    done: int,
    keep_weights: Callable[[RunSpec], bool],
) -> Outcome:
    """The trials of one stage of the search."""
    how.check(runs)
    return carry_out(how.executor, replace(how.plan(runs, done, keep_weights), local_record=True), record, watching)
