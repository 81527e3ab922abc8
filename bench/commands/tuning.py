"""Running a search: show what would be tried, train it, show what was found."""

from functools import partial

from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.executors.local import execute
from mcr_bench.bench.report.cards import grid_text
from mcr_bench.bench.report.progress import observer
from mcr_bench.bench.tuning.request import TuneRequest
from mcr_bench.bench.tuning.search import outline, tune


def run_search(request: TuneRequest, jobs: int | None, device: str, plan_only: bool, as_json: bool) -> bool:
    """Search (or show the outline of the search); whether no run failed."""
    if plan_only:
        rows = outline(request)
        print_json(rows) if as_json else say(grid_text(rows))
        return True
    with observer(SafeConsole(stderr=True)) as watching:
        train = partial(execute, jobs=jobs, device=device, observer=watching)
        result = tune(request, execute=train, note=partial(say, err=True))
    for failure in result.failed:
        say(f"failed: {failure.spec.label}: {failure.reason}; log: {failure.log}", err=True)
    if as_json:
        print_json(
            {"preset": result.preset, "path": str(result.path), "methods": result.rows(), "skipped": result.skipped}
        )
        return not result.failed
    say(grid_text(result.rows()))
    for dataset, method, reason in result.skipped:
        say(f"left out on {dataset}: {method}: {reason}")
    say(f"preset {result.preset} written to {result.path}; use it with --preset {result.preset}")
    return not result.failed
