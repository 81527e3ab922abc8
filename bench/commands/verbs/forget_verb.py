"""The command `forget`; its heavy imports wait inside the function."""

from typing import Annotated

import typer

from mcr_bench.bench.commands.options import OfDatasets, OfKeys, OfMethods, OfSeeds, TrackingUri
from mcr_bench.bench.commands.output import open_record
from mcr_bench.bench.commands.verb import verb


@verb
def forget(
    keys: OfKeys = None,
    method: OfMethods = None,
    dataset: OfDatasets = None,
    seeds: OfSeeds = None,
    status: Annotated[
        str | None, typer.Option(help="Comma list: only runs that are finished, failed, killed or running.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring hidden runs back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Hide runs: no table shows them any more, and a `run` that asks for them trains them again.

    They stay in MLflow's state `deleted`, with their files, until `mlflow gc` removes them. Runs must meet every option
    that is given. Exit codes: 0, or 1 if the question is answered with no.
    """
    from mcr_bench.bench.commands import moving

    moving.forget(open_record(tracking_uri), moving.selection(keys, method, dataset, seeds, status), undo, yes)
