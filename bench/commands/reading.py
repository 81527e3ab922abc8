"""Read a record: make comparisons, claims and tables of its runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Never

from rich.text import Text

from mcr_bench.bench.analysis.claimed import ALPHA, Claims
from mcr_bench.bench.analysis.claims import baseline_of, claims, leading
from mcr_bench.bench.analysis.compared import Comparison, Skipped
from mcr_bench.bench.analysis.comparisons import comparisons
from mcr_bench.bench.analysis.floors import with_floors
from mcr_bench.bench.analysis.ranking import rank_data, rank_datasets, rank_table
from mcr_bench.bench.analysis.sweeps import sweep_table, sweeps
from mcr_bench.bench.analysis.table import Lead, Table, comparison_table
from mcr_bench.bench.analysis.why.tables import why_tables
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.commands.choosing import chosen
from mcr_bench.bench.commands.console import SafeConsole
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.core.guard import attempt
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.problem.metrics import kind_of
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.claim_tables import baseline_command, claim_data, claim_tables, power_lines, summary
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.report.terminal import print_tables
from mcr_bench.bench.statistics.ranks import Ranks
from mcr_bench.bench.words import number_of

TABLES = {
    "methods": "every method on one dataset: metrics, per modality, cost, protocol card",
    "why": "what each modality and its encoder contribute: encoders, missing modalities, reliance, steps",
    "statistics": "every method against the baseline: primary test, secondary tests, all pairs",
    "sweeps": "every method along the settings of a dataset that were swept",
    "published": "published numbers beside ours",
}


Made = tuple[str, Callable[[], Table]]  # what a table is of, and what makes it


def read_comparisons(record: Record, dataset: str | None, cost_baseline: str) -> list[Comparison]:
    """The comparisons of a record that have a finished run, each with its floor."""
    rows = chosen(record.rows(), dataset)
    return with_floors(finished_comparisons(rows, cost_baseline, left_out(record)), record.floors)


def left_out(record: Record) -> list[Skipped]:
    """(dataset, method, reason) of the runs that could not be read, for the notes below tables."""
    return [(one.dataset, one.method or "a run", one.text) for one in record.unreadable]


def finished_comparisons(
    rows: Iterable[RunRow], cost_baseline: str, skipped: Sequence[Skipped] = ()
) -> list[Comparison]:
    """The comparisons of these rows that have a finished run; for all others the reason is printed.

    skipped: (dataset, method, reason) of what is left out, for the notes below the tables of its dataset.
    """
    by_dataset: dict[str, list[RunRow]] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    compared = [
        attempt(partial(comparisons, of_one, cost_baseline, skipped), partial(_nothing, name))
        for name, of_one in sorted(by_dataset.items())
    ]
    every = [one for made in compared for one in made]
    for one in every:
        if not one.lines:
            _say_left_out(one.title, _unfinished(one))
    return [one for one in every if one.lines]


def _unfinished(one: Comparison) -> str:
    """Why a comparison has no line, in words."""
    reasons = dict.fromkeys(row.failure or "see its log" for row in one.failed)
    failed = f"; {len(one.failed)} failed: {'; '.join(reasons)}" if one.failed else ""
    stopped = f"; {len(one.unfinished)} not finished" if one.unfinished else ""
    return f"no finished run with a value{failed}{stopped}"


def all_claims(
    comparisons: Sequence[Comparison], record: Record, baseline: str, metric: str | None = None, alpha: float = ALPHA
) -> tuple[list[Claims], list[str]]:
    """The claims of all comparisons that have the baseline and the metric, and one line with the reason for the others.

    UserError for a baseline or metric that no comparison has, and for an alpha that is not allowed.
    """
    answers = _answers(comparisons, record, baseline, metric, alpha)
    missing = [f"{one.title}: {text}" for one, text in zip(comparisons, answers, strict=True) if isinstance(text, str)]
    return [one for one in answers if isinstance(one, Claims)], missing


def claims_or_why(
    comparisons: Sequence[Comparison], record: Record, baseline: str, metric: str | None = None
) -> list[Claims | str]:
    """The claims of every comparison, in their order, or why it has none; UserError for what is unknown."""
    if baseline in registry.method_names() and not has_baseline(comparisons, baseline):
        return [f"no finished run of {baseline} to compare with; give another --baseline" for _ in comparisons]
    return _answers(comparisons, record, baseline, metric)


def has_baseline(comparisons: Sequence[Comparison], baseline: str) -> bool:
    """Whether any comparison has a line of the baseline."""
    return any(baseline_of(one, baseline) is not None for one in comparisons)


def check_baseline(comparisons: Sequence[Comparison], baseline: str) -> None:
    """UserError for a baseline that is neither a registered method nor on record, where there is anything on record."""
    known = baseline in registry.method_names() or has_baseline(comparisons, baseline)
    if comparisons and not known:
        raise _no_baseline(comparisons, baseline)


def show_claims(
    made: Sequence[Claims],
    missing: Iterable[str],
    comparisons: Sequence[Comparison],
    as_json: bool,
    metric: str | None = None,
) -> None:
    """Print the power, the claims and the tables of each comparison, and then the ranks across datasets."""
    ranks = attempt(partial(rank_datasets, comparisons, metric), _without_ranks)
    if as_json:
        told = [attempt(partial(claim_data, one), partial(_say_left_out, one.comparison.title)) for one in made]
        content = {"comparisons": [data for data in told if data is not None], "without": list(missing)}
        return print_json(content | {"across_datasets": rank_data(ranks)})
    console = SafeConsole()
    for one in made:
        attempt(partial(_show_claims, one, console), partial(_say_left_out, one.comparison.title))
    for text in missing:
        say(text)
    if made and ranks.mean_ranks:
        print_tables(console, [rank_table(ranks)])
    elif made:
        say(f"no ranks across datasets: {ranks.reason}")


def _show_claims(one: Claims, console: SafeConsole) -> None:
    lines, tables = dict.fromkeys([*power_lines(one), *summary(one)]), claim_tables(one)
    console.print(Text(one.comparison.title, style="bold"), soft_wrap=True)
    for line in lines:
        say(f"  {line}")
    say("")
    print_tables(console, tables)


def lead_of(comparisons: Iterable[Comparison], answers: Iterable[Claims | str]) -> Lead:
    """The function that gives the labels in bold type of a comparison, by its primary test."""
    known = {id(one): answer for one, answer in zip(comparisons, answers, strict=True)}

    def lead(comparison: Comparison) -> tuple[set[str], str]:
        answer = known[id(comparison)]
        return (set(), f"no bold type: {answer}") if isinstance(answer, str) else leading(answer)

    return lead


def tables_of(
    comparisons: Sequence[Comparison],
    rows: Iterable[RunRow],
    record: Record,
    baseline: str,
    cost_baseline: str,
    margin: float,
    kinds: Iterable[str] = TABLES,
    published: str = "all",
) -> dict[str, Sequence[Table]]:
    """The tables of each kind; one that cannot be made is left out, and the reason is printed.

    rows: those of the whole record, for published numbers.
    published: `all` published tables, or `mine`: those with a column on the data of `comparisons`.
    """
    answers = claims_or_why(comparisons, record, baseline)
    lead = lead_of(comparisons, answers)
    makers: dict[str, Callable[[], Iterable[Table]]] = {
        "methods": lambda: _each(
            (one.title, partial(comparison_table, one, cost_baseline, lead)) for one in comparisons
        ),
        "why": lambda: chain.from_iterable(
            attempt(partial(why_tables, one, cost_baseline), partial(_nothing, f"diagnostics of {one.title}"))
            for one in comparisons
        ),
        "statistics": lambda: _statistics(comparisons, answers),
        "sweeps": lambda: _each((one.title, partial(sweep_table, one, baseline)) for one in sweeps(comparisons)),
        "published": lambda: published_of(rows, comparisons, published, margin),
    }
    return {kind: attempt(partial(_listed, makers[kind]), partial(_nothing, f"tables {kind}")) for kind in kinds}


def _statistics(comparisons: Sequence[Comparison], answers: Sequence[Claims | str]) -> Iterator[Table]:
    """The tables of all claims; each reason why there are none is printed once."""
    without: dict[str, list[str]] = {}
    for one, answer in zip(comparisons, answers, strict=True):
        if isinstance(answer, str):
            without.setdefault(answer, []).append(one.title)
        else:
            yield from attempt(partial(claim_tables, answer), partial(_nothing, f"statistics of {one.title}"))
    for reason, (first, *more) in without.items():
        also = f" and of {number_of(len(more), 'other comparison')}" if more else ""
        _say_left_out(f"statistics of {first}{also}", reason)


def published_of(rows: Iterable[RunRow], comparisons: Iterable[Comparison], which: str, margin: float) -> list[Table]:
    """Published tables with our runs. which: `all`, or `mine`: those with a column on the data of `comparisons`."""
    return published_tables(rows, margin, None if which == "all" else {one.dataset for one in comparisons})


def _listed(make: Callable[[], Iterable[Table]]) -> list[Table]:
    return list(make())


def _each(makers: Iterable[Made]) -> Iterator[Table]:
    for name, make in makers:
        table = attempt(make, partial(_say_left_out, name))
        if table is not None:
            yield table


def _left_out(reason: str) -> str:
    return f"statistics are left out: {reason}"


def _nothing(what: str, reason: str) -> Sequence[Never]:
    _say_left_out(what, reason)
    return []


def _say_left_out(what: str, reason: str) -> None:
    say(f"left out: {what}: {reason}", err=True)


def _without_ranks(reason: str) -> Ranks:
    return Ranks({}, 0, None, None, [], f"left out: {reason}")


def _answers(
    comparisons: Sequence[Comparison], record: Record, baseline: str, metric: str | None = None, alpha: float = ALPHA
) -> list[Claims | str]:
    known = {name for one in comparisons for name in _metrics(one)}
    if metric is not None and metric not in known:
        raise unknown("metric on record", metric, known)
    if not 0 < alpha < 1:
        raise UserError(f"--alpha {alpha:g}: not allowed. Give a number between 0 and 1, such as 0.05.")
    if comparisons and not has_baseline(comparisons, baseline):
        raise _no_baseline(comparisons, baseline)
    return [attempt(partial(_claims, one, record, baseline, metric, alpha), _left_out) for one in comparisons]


def _no_baseline(comparisons: Sequence[Comparison], baseline: str) -> UserError:
    names = {label for one in comparisons for label in one.lines} | {
        row.method for one in comparisons for row in one.rows
    }
    if baseline not in registry.method_names():
        return UserError(f"--baseline: {unknown('method on record', baseline, names)}")
    run = next(
        (f"Run it: {baseline_command(one, baseline)} ; or name" for one in comparisons if _can_run(one, baseline)),
        "Name",
    )
    return UserError(f"--baseline: no finished run of {baseline} on record. {run} one of: {', '.join(sorted(names))}.")


def _can_run(one: Comparison, baseline: str) -> bool:
    """Whether a command can add this method to a comparison: its data are the newest, and the method can run on it."""
    if one.older or baseline not in registry.method_names():
        return False
    return registry.method(baseline).needs.unmet(len(one.modalities), kind_of({one.metric, *_metrics(one)})) is None


def _claims(one: Comparison, record: Record, baseline: str, metric: str | None, alpha: float) -> Claims | str:
    line = baseline_of(one, baseline)
    if line is None:
        run = f", or run it: {baseline_command(one, baseline)}" if _can_run(one, baseline) else ""
        return f"no finished run of {baseline} to compare with; give another --baseline{run}"
    if metric is not None and metric not in _metrics(one):
        return f"no run logged {metric}"
    return claims(one, line, metric, alpha, record.samples)


def _metrics(comparison: Comparison) -> set[str]:
    logged = {name for row in comparison.rows for name in row.metrics if name.startswith("test/")}
    return {name.removeprefix("test/") for name in logged if name.count("/") == 1}
