"""The commands `merge`, `export` and `import`; their heavy imports wait inside the functions."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, OfDatasets, OfKeys, OfMethods, OfSeeds, TrackingUri
from mcr_bench.bench.commands.output import open_record, say
from mcr_bench.bench.commands.verb import verb


@verb
def merge(
    homes: Annotated[
        list[Path], typer.Argument(metavar="OTHER_HOME...", help="Folders that are MCR_BENCH_HOME on other machines.")
    ],
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Join the finished runs of other homes into this record; nothing here or there is overwritten.

    A key that is finished here stays as it is. Files and best weights of runs are copied; unfinished runs are not. The
    same command continues an interrupted one. Exit codes: 0, or 1 if a finished run could not be joined.
    """
    from mcr_bench.bench.commands import moving

    moving.merge(homes, open_record(tracking_uri), as_json)


@verb
def export(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as runs.zip. It must not exist.")],
    keys: OfKeys = None,
    method: OfMethods = None,
    dataset: OfDatasets = None,
    seeds: OfSeeds = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write finished runs of the record to one file: settings, curves, predictions, checksums; no weights.

    It is a ZIP file that can be read without MLflow (docs/many-machines.md). Exit codes: 0, or 1 if a run could not be
    written.
    """
    from mcr_bench.bench.commands import moving

    say(moving.export(file, open_record(tracking_uri), moving.selection(keys, method, dataset, seeds)))


@verb
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Archives that `export` has written.")],
    most_gib: Annotated[float, typer.Option(min=0, help="The most GiB that an archive may unpack to.")] = 16.0,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Join the runs of archives into this record, as `merge` does; everything in them is checked first.

    An archive that is damaged, or is not what `export` writes, is refused as a whole. Nothing in it is executed.
    """
    from mcr_bench.bench.commands import moving

    moving.import_(files, most_gib, lambda: open_record(tracking_uri), as_json)
