"""The command `results`; its heavy imports wait inside the function."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, OneDataset, TrackingUri
from mcr_bench.bench.commands.output import nothing_in, open_record, print_json, say
from mcr_bench.bench.commands.verb import verb
from mcr_bench.bench.errors import UserError


@verb
def results(
    dataset: OneDataset = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare all files with their checksums; exit code 1 if one is lost or outside."),
    ] = False,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Print one row per run of the record; with --verify, which files of its runs are damaged or missing."""
    from mcr_bench.bench.commands.choosing import chosen
    from mcr_bench.bench.report import results as formats
    from mcr_bench.bench.report.fitted import grid_text

    if verify and (csv is not None or dataset is not None or method is not None):
        raise UserError("--verify looks at all files of the record. Give it without --csv, --dataset and --method.")
    record = open_record(tracking_uri)
    if verify:
        from mcr_bench.bench.commands.verifying import show_checked

        raise typer.Exit(0 if show_checked(record, as_json) else 1)
    rows = chosen(record.rows(), dataset, method)
    if csv is not None:
        formats.write_csv(rows, csv)
        say(f"{len(rows)} runs written to {csv}.", err=True)
    if as_json:
        print_json([formats.result_data(row) for row in rows])
    elif csv is None:
        say(grid_text(formats.results_grid(rows)) if rows else nothing_in(record, dataset, method))
