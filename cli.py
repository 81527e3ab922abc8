"""The command line: one Typer command per verb; parses, calls bench, prints. Heavy imports wait inside the verbs."""

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

if TYPE_CHECKING:
    from mcr_bench.bench.executors.events import Outcome
    from mcr_bench.bench.plan import Plan
    from mcr_bench.bench.report.table import Table
    from mcr_bench.bench.tracking import Record

P = ParamSpec("P")
BASELINE = "joint"  # costs in tables are relative to it
INTERRUPTED = 130

app = typer.Typer(
    help="Compare balancing methods for multimodal training: same data, seeds, batches and loop for every method.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Bring the data of a dataset into shape.", no_args_is_help=True)
app.add_typer(data_app, name="data")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
DataRoot = Annotated[Path, typer.Option(help="Parent folder of the prepared datasets.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow tracking URI. Default: MLFLOW_TRACKING_URI, else results/mlflow.db.")
]


class Listed(StrEnum):
    METHODS = "methods"
    DATASETS = "datasets"
    PRESETS = "presets"


def verb(command: Callable[P, None]) -> Callable[P, None]:
    """A command that ends with exit code 2 and a message for what the user can mend, and cleanly on Ctrl-C."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        from mcr_bench.bench.errors import UserError

        try:
            command(*args, **kwargs)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("\nStopped. What is finished is kept; the same command goes on from here.", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return guarded


@app.command()
@verb
def run(
    methods: Annotated[
        str, typer.Option(help="`all`, or a comma list of names and of .py files that define a method: joint,./mine.py")
    ],
    dataset: Annotated[str, typer.Option(help="Comma list of dataset names and of .npz files.")],
    modalities: Annotated[str | None, typer.Option(help="Keep only these: a comma list. Default: all.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="N (seeds 0 to N - 1), or a list: 3,5,8; the one seed 5 is `5,`. Default: the preset's."),
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Use this fold for every seed. Default: seeds take turns.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol of the dataset. Default: its first.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of the dataset (`mcr-bench list presets`).")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, repeatable: epochs=5, optimizer.lr=1e-3. key=a,b expands the grid."),
    ] = None,
    allow_group_overlap: Annotated[
        bool, typer.Option("--allow-group-overlap", help="Accept array files in which a group is in two splits.")
    ] = False,
    data_root: DataRoot = Path("data"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: one per core.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    tracking_uri: TrackingUri = None,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the best weights of every run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is finished.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Show what would be trained, and train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train every method on every dataset over the seeds, and print one comparison table per dataset and protocol.

    What is finished is not trained again; an interrupted run goes on where it stopped.
    Exit codes: 0 all finished, 1 some runs failed, 2 wrong usage or data.
    """
    from mcr_bench.bench.arguments import parse_names, parse_seeds, parse_settings
    from mcr_bench.bench.plan import Request, make_plan
    from mcr_bench.bench.tracking import Record

    overrides = parse_settings(settings or [])
    if allow_group_overlap:
        overrides["dataset.allow_group_overlap"] = ["true"]
    request = Request(
        methods=parse_names("--methods", methods),
        datasets=parse_names("--dataset", dataset),
        data_root=data_root,
        modalities=None if modalities is None else tuple(parse_names("--modalities", modalities)),
        seeds=None if seeds is None else parse_seeds(seeds),
        fold=fold,
        protocol=protocol,
        preset=preset,
        overrides=overrides,
    )
    plan = make_plan(request)
    record = Record(tracking_uri)
    finished = set(record.finished(run.key for run in plan.runs))
    if plan_only:
        return _show_plan(plan, finished - (plan.requested if force else set()), as_json)
    outcome = _execute(plan, finished, record, jobs, device, force, keep_weights)
    _show_outcome(plan, outcome, record, as_json)
    if outcome.failed:
        raise typer.Exit(1)


@app.command("list")
@verb
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List the registered methods, datasets, or presets."""
    from mcr_bench.bench.report import cards

    found = {
        Listed.METHODS: cards.list_methods,
        Listed.DATASETS: cards.list_datasets,
        Listed.PRESETS: cards.list_presets,
    }
    rows = found[what]()
    _print_json(rows) if as_json else typer.echo(cards.grid_text(rows))


@app.command()
@verb
def describe(
    name: Annotated[str, typer.Argument(help="A method, a dataset, or the file of one.")],
    data_root: DataRoot = Path("data"),
    as_json: AsJson = False,
) -> None:
    """Print the card of a method (formula, reference, settings with origin, needs, deviations) or of a dataset."""
    from mcr_bench.bench.report.cards import card_of, card_text

    card = card_of(name, data_root)
    _print_json(card) if as_json else typer.echo(card_text(card))


@app.command()
@verb
def results(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset, as tables call it.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Print one row per run of the record."""
    from mcr_bench.bench.report import terminal
    from mcr_bench.bench.report.cards import grid_text
    from mcr_bench.bench.tracking import Record

    record = Record(tracking_uri)
    rows = record.rows(dataset, method)
    if csv is not None:
        terminal.write_csv(rows, csv)
        typer.echo(f"{len(rows)} runs written to {csv}.", err=True)
    if as_json:
        _print_json(terminal.result_rows(rows))
    elif csv is None:
        typer.echo(grid_text(terminal.results_grid(rows)) if rows else _nothing(record, dataset, method))


@app.command()
@verb
def tables(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset, as `results` calls it.")] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the comparison tables of the record as Markdown, CSV and LaTeX (booktabs) to results/tables/."""
    from mcr_bench.bench.report.export import write_tables
    from mcr_bench.bench.report.table import comparison_tables
    from mcr_bench.bench.tracking import Record

    record = Record(tracking_uri)
    found = comparison_tables(record.rows(dataset), BASELINE)
    if not found:
        typer.echo(_nothing(record, dataset))
        return
    _print_tables(found)
    for path in write_tables(found, record.home / "tables"):
        typer.echo(path)


@app.command()
@verb
def ui(
    port: Annotated[int, typer.Option(help="First port to try.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tracking_uri: TrackingUri = None,
) -> None:
    """Start the MLflow UI on the record and print its address; Ctrl-C ends it."""
    from mcr_bench.bench.tracking import Record
    from mcr_bench.bench.ui import serve

    raise typer.Exit(serve(Record(tracking_uri), host, port, typer.echo))


@data_app.callback()
def data() -> None:
    """Bring the data of a dataset into shape."""


@data_app.command()
@verb
def prepare(
    name: Annotated[str, typer.Argument(help="The dataset; `mcr-bench describe NAME` says which files it expects.")],
    source: Annotated[Path, typer.Option(help="The raw folder. It is only read.", exists=True, file_okay=False)],
    data_root: DataRoot = Path("data"),
) -> None:
    """Read the raw files of a dataset and write them, ready to load, to DATA_ROOT/NAME."""
    from mcr_bench.bench.plan import make_dataset

    typer.echo(make_dataset(name, data_root, {}).prepare(source))


def _execute(
    plan: "Plan",
    finished: set[str],
    record: "Record",
    jobs: int | None,
    device: str,
    force: bool,
    keep_weights: bool,
) -> "Outcome":
    """Train what is not finished, or with `force` what was asked for, and show the progress on stderr."""
    from rich.console import Console

    from mcr_bench.bench.executors.local import execute
    from mcr_bench.bench.report.progress import observer

    for line in plan.announcements:
        typer.echo(line, err=True)
    again = plan.requested if force else set()
    wanted = [run for run in plan.runs if run.key not in finished or run.key in again]
    with observer(Console(stderr=True)) as watching:
        return execute(
            wanted,
            record,
            jobs=jobs,
            device=device,
            observer=watching,
            done=len(plan.runs) - len(wanted),
            force=force,
            keep_weights=lambda run: keep_weights or run.role == "unimodal",  # a later comparison may start from these
        )


def _show_plan(plan: "Plan", finished: set[str], as_json: bool) -> None:
    from mcr_bench.bench.report.cards import grid_text
    from mcr_bench.bench.report.terminal import plan_rows

    rows = plan_rows(plan, finished)
    if as_json:
        return _print_json({"runs": rows, "skipped": plan.skipped, "announcements": plan.announcements})
    typer.echo(grid_text(rows))
    for dataset, method, reason in plan.skipped:
        typer.echo(f"left out on {dataset}: {method}: {reason}")
    for line in plan.announcements:
        typer.echo(line)
    typer.echo(f"{len(rows)} runs, {len(finished)} finished, {len(rows) - len(finished)} to train.")


def _show_outcome(plan: "Plan", outcome: "Outcome", record: "Record", as_json: bool) -> None:
    """The tables of the plan's runs on stdout, what failed on stderr."""
    from mcr_bench.bench.report import terminal
    from mcr_bench.bench.report.table import comparison_tables

    keys, datasets = {run.key for run in plan.runs}, dict.fromkeys(run.dataset for run in plan.runs)
    rows = [row for dataset in datasets for row in record.rows(dataset) if row["key"] in keys]
    found = comparison_tables(rows, BASELINE, plan.skipped)
    for failure in outcome.failed:
        spec = failure.spec
        typer.echo(
            f"failed: {spec.label} on {spec.dataset}, seed {spec.seed}: {failure.reason}; log: {failure.log}", err=True
        )
    if not as_json:
        return _print_tables(found)
    _print_json(
        {
            "tables": [terminal.table_data(table) for table in found],
            "runs": terminal.result_rows(rows),
            "failed": [{"key": f.spec.key, "reason": f.reason, "log": str(f.log)} for f in outcome.failed],
            "skipped": plan.skipped,
            "announcements": plan.announcements,
        }
    )


def _print_tables(found: "list[Table]") -> None:
    from rich.console import Console

    from mcr_bench.bench.report.terminal import print_tables

    print_tables(Console(), found)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _nothing(record: "Record", *asked: str | None) -> str:
    names = " and ".join(f"'{name}'" for name in asked if name)
    if names:
        return f"No run of {names} in the record at {record.uri}. `mcr-bench results` shows what there is."
    return f"The record at {record.uri} holds no run yet. Start with: mcr-bench run --methods all --dataset synthetic"


def main() -> None:
    """The console script `mcr-bench`."""
    sys.exit(app())
