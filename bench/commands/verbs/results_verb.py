"""The command `results`; its heavy imports wait inside the function."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, OneDataset, TrackingUri
from mcr_bench.bench.commands.output import nothing_in, open_record, print_json, say
from mcr_bench.bench.commands.verb import verb


@verb
def results(
    dataset: OneDataset = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Print one row per run of the record."""
    from mcr_bench.bench.commands.choosing import chosen
    from mcr_bench.bench.report import results as formats
    from mcr_bench.bench.report.cards import grid_text

    record = open_record(tracking_uri)
    rows = chosen(record.rows(), dataset, method)
    if csv is not None:
        formats.write_csv(rows, csv)
        say(f"{len(rows)} runs written to {csv}.", err=True)
    if as_json:
        print_json([formats.result_data(row) for row in rows])
    elif csv is None:
        say(grid_text(formats.results_grid(rows)) if rows else nothing_in(record, dataset, method))
