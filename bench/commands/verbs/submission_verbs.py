"""The commands `submit` and `verify-submission`; their heavy imports wait inside the functions."""

from pathlib import Path
from typing import Annotated

import typer

from mcr_bench.bench.commands.options import AsJson, DataRoot, OfDatasets, OfKeys, OfMethods, OfSeeds, TrackingUri
from mcr_bench.bench.commands.output import open_record
from mcr_bench.bench.commands.verb import verb
from mcr_bench.bench.errors import UserError


@verb
def submit(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as ours.zip. It must not exist.")],
    keys: OfKeys = None,
    method: OfMethods = None,
    dataset: OfDatasets = None,
    seeds: OfSeeds = None,
    data_root: DataRoot = Path("data"),
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Pack finished runs for others to check: predictions, settings, environment, digests of code and data.

    The archive is that of `export`, with the runs that the chosen ones start from. It is checked as
    `verify-submission` does, and stays only if nothing in it is wrong. Exit codes: 0, or 1 if something is wrong or
    left out.
    """
    from mcr_bench.bench.commands import moving
    from mcr_bench.bench.commands.verbs.submitting import print_verified, write_submission

    chosen = moving.selection(keys, method, dataset, seeds)
    made, complete = write_submission(file, open_record(tracking_uri), chosen, data_root)
    print_verified(made, as_json)
    if not (made.holds and complete):
        raise typer.Exit(1)


@verb
def verify_submission(
    file: Annotated[Path, typer.Argument(help="An archive that `submit` or `export` has written.")],
    data_root: DataRoot = Path("data"),
    most_gib: Annotated[float, typer.Option(min=0, help="The most GiB that the archive may unpack to.")] = 16.0,
    as_json: AsJson = False,
) -> None:
    """Check an archive of runs: every number from its predictions, ids and labels, settings and code; train nothing.

    It says what holds, what is wrong and what cannot be proven. Nothing in the archive is executed, and no record is
    read or written. Exit codes: 0 if all that can be checked holds, 1 if something is wrong, 2 for another file.
    """
    from mcr_bench.bench.commands.verbs.submitting import print_verified
    from mcr_bench.bench.exchange.opened import opened
    from mcr_bench.bench.publish.verify import verified

    with opened(file, most_gib) as archive:
        if not archive.runs():
            raise UserError(f"'{file}' holds no run, so there is nothing to check. Export or submit some.")
        made = verified(archive, data_root)
    print_verified(made, as_json)
    if not made.holds:
        raise typer.Exit(1)
