"""The command `ui`; its heavy imports wait inside the function."""

from typing import Annotated

import typer

from mcr_bench.bench.commands.options import TrackingUri
from mcr_bench.bench.commands.output import open_record, say
from mcr_bench.bench.commands.verb import verb


@verb
def ui(
    port: Annotated[int, typer.Option(help="First port to try.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tracking_uri: TrackingUri = None,
) -> None:
    """Start the MLflow UI on the record, and print its address; Ctrl-C stops it."""
    from mcr_bench.bench.serving.ui import serve

    raise typer.Exit(serve(open_record(tracking_uri), host, port, say))
