"""The command `server`; its heavy imports wait inside the function."""

from typing import Annotated

import typer

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.commands.verb import verb
from mcr_bench.bench.credentials import conceal


@verb
def server(
    database: Annotated[
        str | None,
        typer.Option(
            help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. Default: an SQLite file in results/server.",
            envvar="MLFLOW_BACKEND_STORE_URI",
            callback=conceal,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in. It asks for no password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Start an MLflow tracking server for runs of several machines, and print the line for clients; Ctrl-C stops it."""
    from mcr_bench.bench.core.home import default_home
    from mcr_bench.bench.serving.tracking_server import serve

    raise typer.Exit(serve(database, host, port, default_home().resolve() / "server", say))
