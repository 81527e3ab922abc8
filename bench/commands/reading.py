"""Reading a record: comparisons, claims, tables and figures of what was run."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from mcr_bench.bench import registry
from mcr_bench.bench.commands.output import print_json, say
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.report.claim_tables import baseline_command, claim_data, claim_tables, power_lines, summary
from mcr_bench.bench.report.claims import Claims, baseline_of, claims, leading
from mcr_bench.bench.report.floors import with_floors
from mcr_bench.bench.report.lines import Comparison, Row, comparisons
from mcr_bench.bench.report.published_table import published_tables
from mcr_bench.bench.report.ranking import rank_data, rank_datasets, rank_table
from mcr_bench.bench.report.sweeps import sweep_table, sweeps
from mcr_bench.bench.report.table import Lead, Table, comparison_table
from mcr_bench.bench.report.terminal import print_tables
from mcr_bench.bench.tracking import Record

TABLES = {
    "methods": "every method on one dataset: metrics, per modality, cost, protocol card",
    "statistics": "every method against the baseline: primary test, secondary tests, all pairs",
    "sweeps": "every method along the settings of a dataset that were swept",
    "published": "published numbers beside ours",
}


def read_comparisons(record: Record, dataset: str | None, cost_baseline: str) -> list[Comparison]:
    """The comparisons of the record that have a finished run."""
    return told(record, comparisons(chosen(record.rows(), dataset), cost_baseline))


def told(record: Record, found: Iterable[Comparison]) -> list[Comparison]:
    """Those that have a finished run, each with its floor."""
    return with_floors((one for one in found if one.lines), record.floors)


def chosen(rows: list[Row], dataset: str | None) -> list[Row]:
    """The rows of one dataset, None: all; UserError for one that a record with runs has no run of."""
    names = {row["dataset"] for row in rows}
    if dataset is not None and names and dataset not in names:
        raise unknown("dataset on record", dataset, names)
    return [row for row in rows if dataset in (None, row["dataset"])]


def all_claims(
    found: Sequence[Comparison], record: Record, baseline: str, metric: str | None = None, alpha: float = 0.05
) -> tuple[list[Claims], list[str]]:
    """The claims of every comparison that has the baseline and the metric, and why the others have none."""
    known = {name for one in found for name in _metrics(one)}
    if metric is not None and metric not in known:
        raise unknown("metric on record", metric, known)
    if not 0 < alpha < 1:
        raise UserError(f"--alpha {alpha:g}: not allowed. Give a number between 0 and 1, such as 0.05.")
    if found and not has_baseline(found, baseline):
        names = {label for one in found for label in one.lines} | {row["method"] for one in found for row in one.rows}
        if baseline in registry.method_names():
            run, others = baseline_command(found[0], baseline), ", ".join(sorted(names))
            raise UserError(f"--baseline: no run of {baseline} on record. Run it: {run} ; or name one of: {others}.")
        raise UserError(f"--baseline: {unknown('method on record', baseline, names)}")
    made, missing = [], []
    for one in found:
        line = baseline_of(one, baseline)
        if line is None:
            run = f", or run it: {baseline_command(one, baseline)}" if baseline in registry.method_names() else ""
            missing.append(f"{one.title}: no run of {baseline} to compare with; give another --baseline{run}")
        elif metric is not None and metric not in _metrics(one):
            missing.append(f"{one.title}: no run logged {metric}")
        else:
            made.append(claims(one, line, metric, alpha, record.samples))
    return made, missing


def has_baseline(found: Sequence[Comparison], baseline: str) -> bool:
    """Whether any comparison has a line to test against."""
    return any(baseline_of(one, baseline) is not None for one in found)


def claims_or_none(found: Sequence[Comparison], record: Record, baseline: str) -> list[Claims]:
    """The claims, or none where the baseline has no run yet; UserError where it is no method at all."""
    if baseline in registry.method_names() and not has_baseline(found, baseline):
        return []
    return all_claims(found, record, baseline)[0]


def show_claims(
    made: Sequence[Claims],
    missing: Iterable[str],
    found: Sequence[Comparison],
    as_json: bool,
    metric: str | None = None,
) -> None:
    """Power first, then what is claimed, then the tables; at the end the ranks across datasets, by the same metric."""
    ranks = rank_datasets(found, metric)
    if as_json:
        content = {"comparisons": [claim_data(one) for one in made], "without": list(missing)}
        return print_json(content | {"across_datasets": rank_data(ranks)})
    console = Console()
    for one in made:
        console.print(Text(one.comparison.title, style="bold"), soft_wrap=True)
        for line in dict.fromkeys([*power_lines(one), *summary(one)]):
            say(f"  {line}")
        say("")
        print_tables(console, claim_tables(one))
    for text in missing:
        say(text)
    if made and ranks.mean_ranks:
        print_tables(console, [rank_table(ranks)])
    elif made:
        say(f"no ranks across datasets: {ranks.reason}")


def lead_of(made: Iterable[Claims], baseline: str) -> Lead:
    """Bold type from the primary test."""
    known = {id(one.comparison): leading(one) for one in made}  # titles may be the same for other data

    def lead(found: Comparison) -> tuple[set[str], str]:
        return known.get(id(found), (set(), f"no bold type: no run of {baseline} to test against"))

    return lead


def tables_of(
    found: Sequence[Comparison],
    rows: Iterable[Row],
    record: Record,
    baseline: str,
    cost_baseline: str,
    margin: float,
    kinds: Iterable[str] = TABLES,
) -> dict[str, list[Table]]:
    """The tables of each kind. rows: of the whole record, for the published numbers."""
    made = claims_or_none(found, record, baseline)
    made_tables = {
        "methods": lambda: [comparison_table(one, cost_baseline, lead_of(made, baseline)) for one in found],
        "statistics": lambda: [table for one in made for table in claim_tables(one)],
        "sweeps": lambda: [sweep_table(sweep, baseline) for sweep in sweeps(found)],
        "published": lambda: published_tables(rows, margin),
    }
    return {kind: made_tables[kind]() for kind in kinds}


def _metrics(found: Comparison) -> set[str]:
    logged = {name for row in found.rows for name in row["metrics"] if name.startswith("test/")}
    return {name.removeprefix("test/") for name in logged if name.count("/") == 1}
