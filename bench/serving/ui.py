"""MLflow's web interface on the record: find a free port, and serve until Ctrl-C."""

import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mcr_bench.bench.record.runs import PREFIX
from mcr_bench.bench.serving.attached import attached
from mcr_bench.bench.serving.mlflow_server import (
    address_of,
    command_of,
    environment_of,
    free_port,
    page_of_runs,
    runs_page,
    wait_until_up,
)

if TYPE_CHECKING:
    from mcr_bench.bench.record.tracking import Record


def serve(record: "Record", host: str, port: int, say: Callable[[str], object]) -> int:
    """Serve the record until Ctrl-C, and return the exit code; `say` prints the page of the runs, once it is there.

    A record on a tracking server has its interface there: only its page is printed.
    """
    if record.uri.startswith(("http://", "https://")):
        say(f"The record is on a tracking server, which shows it at {_remote_page(record)}")
        return 0
    record.prepare()
    port = free_port(host, port)
    address = address_of(host, port)
    with (
        tempfile.TemporaryFile() as log,
        attached(command_of(host, port, "--workers", "1"), environment_of(record.uri), log) as server,
    ):
        try:
            wait_until_up(server, address, log)
            page = page_of_runs(address)
            say(f"MLflow UI: {page} (Ctrl-C ends it)")
            _open(page)
            server.wait()
        except KeyboardInterrupt:
            return 0
    return 1


def _remote_page(record: "Record") -> str:
    known = record.client.search_experiments(max_results=1000, filter_string=f"name LIKE '{PREFIX}%'")
    return runs_page(record.address.rstrip("/"), [one.experiment_id for one in known])


def _open(page: str) -> None:
    """Open a page in the browser, where somebody sits in front of one."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and sys.stdout.isatty():
        with suppress(webbrowser.Error):
            webbrowser.open(page)
