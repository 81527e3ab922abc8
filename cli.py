"""The command line: one Typer command per verb; parses, calls bench, prints. Heavy imports wait inside the verbs.

Commands with a method's name as a default are written here, the others in `bench/commands/`.
"""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench import __version__
from mcr_bench.bench.commands.options import (
    AsJson,
    Baseline,
    DataRoot,
    Deterministic,
    Device,
    ExecutorName,
    Family,
    Fold,
    Jobs,
    Methods,
    Modalities,
    OneDataset,
    PlanOnly,
    PresetName,
    ProtocolName,
    Published,
    RayAddress,
    Resources,
    RunsPerGpu,
    ServerWait,
    Settings,
    ShardName,
    Timeout,
    TrackingUri,
    WhichPublished,
)
from mcr_bench.bench.commands.output import nothing_in, open_record, say
from mcr_bench.bench.commands.plugins.check_verb import check
from mcr_bench.bench.commands.plugins.new_verb import new_command
from mcr_bench.bench.commands.verb import end_with, verb
from mcr_bench.bench.commands.verbs.data_verbs import data_app
from mcr_bench.bench.commands.verbs.forget_verb import forget
from mcr_bench.bench.commands.verbs.listing_verbs import describe, list_
from mcr_bench.bench.commands.verbs.moving_verbs import export, import_, merge
from mcr_bench.bench.commands.verbs.publish_verb import publish_command
from mcr_bench.bench.commands.verbs.results_verb import results
from mcr_bench.bench.commands.verbs.server_verb import server
from mcr_bench.bench.commands.verbs.submission_verbs import submit, verify_submission
from mcr_bench.bench.commands.verbs.tune_verb import tune
from mcr_bench.bench.commands.verbs.ui_verb import ui
from mcr_bench.methods import BASELINE, COST_BASELINE

MARGIN = 2.0  # points within which a published number is reproduced; chosen here
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")


def _version(asked: bool) -> None:
    if asked:
        say(f"mcr-bench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compare balancing methods for multimodal training: same data, seeds, batches and loop for every method."""


@app.command()
@verb
def run(
    experiment: Annotated[
        str | None,
        typer.Argument(help="The .toml file of an experiment, or the name of a shipped one; the options below win."),
    ] = None,
    methods: Methods = None,
    family: Family = None,
    dataset: Annotated[
        str | None, typer.Option(help="Comma list of dataset names, .npz files, and .py files that define a dataset.")
    ] = None,
    modalities: Modalities = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="N for the seeds 0 to N - 1, or a list: 3,5,8 (`5,` is seed 5 alone). Default: the preset's."
        ),
    ] = None,
    fold: Fold = None,
    protocol: ProtocolName = None,
    preset: PresetName = None,
    settings: Settings = None,
    allow_group_overlap: Annotated[
        bool, typer.Option("--allow-group-overlap", help="Accept files of arrays in which a group is in two parts.")
    ] = False,
    data_root: DataRoot = Path("data"),
    jobs: Jobs = None,
    device: Device = "auto",
    runs_per_gpu: RunsPerGpu = None,
    deterministic: Deterministic = False,
    executor: ExecutorName = "local",
    ray_address: RayAddress = None,
    resources: Resources = None,
    timeout: Timeout = None,
    tracking_uri: TrackingUri = None,
    server_wait: ServerWait = None,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the best weights of every run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train finished runs again.")] = False,
    shard: ShardName = None,
    plan_only: PlanOnly = False,
    as_json: AsJson = False,
) -> None:
    """Train every method on every dataset over the seeds, and print one comparison table per dataset and protocol.

    Finished runs are not trained again, and interrupted runs continue where they stopped.
    Exit codes: 0 all finished, 1 some runs failed, 2 wrong usage or data, 130 stopped by Ctrl-C, 143 by
    SIGTERM, 129 by SIGHUP.
    """
    from mcr_bench.bench.commands import running
    from mcr_bench.bench.executors import chosen as executors
    from mcr_bench.bench.planning.experiment import Choices
    from mcr_bench.bench.planning.plan import make_plan_of
    from mcr_bench.bench.planning.shards import parse_shard
    from mcr_bench.bench.settings.arguments import parse_names, parse_seeds, parse_settings

    how = running.How(
        executors.executor(executor),
        jobs,
        device,
        force=force,
        keep_weights=keep_weights,
        runs_per_gpu=runs_per_gpu,
        deterministic=deterministic,
        address=ray_address,
        resources=resources,
        timeout=timeout,
    )
    part = None if shard is None else parse_shard(shard)
    overrides = parse_settings(settings or [])
    if allow_group_overlap:
        overrides["dataset.allow_group_overlap"] = ["true"]
    choices = Choices(
        methods=None if methods is None else parse_names("--methods", methods),
        family=None if family is None else parse_names("--family", family),
        datasets=None if dataset is None else parse_names("--dataset", dataset),
        data_root=data_root,
        modalities=None if modalities is None else tuple(parse_names("--modalities", modalities)),
        seeds=None if seeds is None else parse_seeds(seeds),
        fold=fold,
        protocol=protocol,
        preset=preset,
        settings=overrides,
    )
    requests, asked = running.requests_of(experiment, choices)
    plan = make_plan_of(requests)
    if not plan_only:
        plan.require_runs()
    plan = plan if part is None else part.of(plan)
    how.check(plan.runs)
    record = open_record(tracking_uri, server_wait)
    if not plan_only:
        record.deliver_owed()
    if part is not None and not plan_only:
        record.prepare()  # of a part without runs too, so that `merge` finds a record
    finished = record.finished_keys(plan.by_key)
    if plan_only:
        return running.show_plan(
            plan, finished - (plan.requested if force else set()), record.rows(), how.workers, as_json
        )
    outcome, rows = running.run_plan(plan, finished, record, how)
    running.show_outcome(plan, outcome.failed, rows, record, COST_BASELINE, as_json)
    if asked is not None and part is None:  # the tables of an experiment are of all its runs
        from mcr_bench.bench.commands.writing import write_output

        write_output(asked, rows, record, BASELINE, COST_BASELINE)
    if outcome.failed:
        raise typer.Exit(1)


app.command("list")(list_)
app.command()(describe)
app.command()(new_command(COST_BASELINE))
app.command()(check)
app.command()(results)


@app.command()
@verb
def compare(
    dataset: OneDataset = None,
    baseline: Baseline = BASELINE,
    metric: Annotated[str | None, typer.Option(help="A recorded test metric. Default: the protocol's.")] = None,
    alpha: Annotated[float, typer.Option(help="Family-wise error rate of the primary test.")] = 0.05,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Show which methods differ from the baseline, and whether the recorded seeds can show a difference.

    There is one primary test, fixed in advance: the exact two-sided sign-flip test, paired by seed and fold, with
    Holm's correction over the methods. All other tests are secondary. Nothing is trained.
    """
    from mcr_bench.bench.commands import reading

    record = open_record(tracking_uri)
    comparisons = reading.read_comparisons(record, dataset, COST_BASELINE)
    if not comparisons:
        say(nothing_in(record, dataset), err=as_json)
    reading.show_claims(*reading.all_claims(comparisons, record, baseline, metric, alpha), comparisons, as_json, metric)


@app.command()
@verb
def tables(
    dataset: OneDataset = None,
    baseline: Baseline = BASELINE,
    margin: Annotated[
        float, typer.Option(min=0, help="Within this many points, a published number is reproduced.")
    ] = MARGIN,
    published: Published = WhichPublished.ALL,
    paper: Annotated[
        bool, typer.Option("--paper", help="Write one table instead: methods as rows, datasets as columns.")
    ] = False,
    methods: Annotated[str | None, typer.Option(help="With --paper: its rows, in this order.")] = None,
    datasets: Annotated[str | None, typer.Option(help="With --paper: its columns, in this order.")] = None,
    metric: Annotated[str | None, typer.Option(help="With --paper: the metric. Default: each protocol's.")] = None,
    digits: Annotated[int | None, typer.Option(min=0, max=6, help="With --paper: decimals. Default: 1.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="With --paper: latex, markdown, csv or html. Default: latex.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="With --paper: the file. Default: results/tables/paper.tex.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the tables of the record, and published numbers with ours, to results/tables/.

    Each table is written as Markdown, CSV (full precision), LaTeX (booktabs) and HTML. An empty record is allowed.
    With --paper, one table of mean and deviation, with citations and a .bib file, bold by the primary test.
    """
    from mcr_bench.bench.commands.verbs.paper_tables import PaperOptions, write_paper_table
    from mcr_bench.bench.commands.writing import write_record_tables

    options = PaperOptions(methods, datasets, metric, digits, form, output)
    others = dataset is not None or margin != MARGIN or published is not WhichPublished.ALL
    options.require_paper(paper, others)
    if paper:
        for path in write_paper_table(tracking_uri, options, baseline, COST_BASELINE):
            say(path)
        return
    record = open_record(tracking_uri)
    if not write_record_tables(record, dataset, baseline, COST_BASELINE, margin, published):
        say(nothing_in(record, dataset))


@app.command()
@verb
def plot(
    figures: Annotated[
        list[str] | None, typer.Argument(help="Names of figures, `mcr-bench list figures`. Default: all.")
    ] = None,
    dataset: OneDataset = None,
    baseline: Baseline = BASELINE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Draw the figures of the record as PNG, SVG and PDF into results/figures/."""
    from mcr_bench.bench.commands.drawing import figures_of, save_figures
    from mcr_bench.bench.commands.reading import check_baseline, read_comparisons
    from mcr_bench.bench.commands.writing import say_outdated
    from mcr_bench.bench.commands.written import forget_outdated, output_folder

    record = open_record(tracking_uri)
    comparisons = read_comparisons(record, dataset, COST_BASELINE)
    if not comparisons:
        say(nothing_in(record, dataset), err=True)
    check_baseline(comparisons, baseline)
    folder = output_folder(record.home) / "figures"
    written = save_figures(figures_of(comparisons, record, baseline, COST_BASELINE, figures or ()), folder)
    for path in written:
        say(path)
    say_outdated(forget_outdated(folder, written, everything=not figures and dataset is None))


@app.command()
@verb
def report(
    output: Annotated[Path | None, typer.Option(help="The file. Default: results/report.html.")] = None,
    dataset: OneDataset = None,
    baseline: Baseline = BASELINE,
    published: Published = WhichPublished.MINE,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write one self-contained HTML file: summary, tables, figures, statistics, protocols, settings, runs."""
    from mcr_bench.bench.commands.reporting import write_html_report
    from mcr_bench.bench.commands.written import output_folder

    record = open_record(tracking_uri)
    path = output or output_folder(record.home) / "report.html"
    say(write_html_report(record, dataset, baseline, COST_BASELINE, path, published))


app.command()(tune)
app.command()(merge)
app.command()(export)
app.command("import")(import_)
app.command()(submit)
app.command()(verify_submission)
app.command()(publish_command(BASELINE, COST_BASELINE))
app.command()(forget)
app.command()(ui)
app.command()(server)


def main() -> None:
    """The console script `mcr-bench`."""
    end_with(app)


if __name__ == "__main__":
    main()
