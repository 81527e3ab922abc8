"""MLflow's server as a child process, without telemetry, and the pages on which it shows the runs of a record."""

import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO
from urllib.parse import quote
from urllib.request import Request, urlopen

from mcr_bench.bench.errors import MOST_QUOTED, UserError, one_line
from mcr_bench.bench.printable import masked
from mcr_bench.bench.record.runs import PREFIX
from mcr_bench.bench.serving.attached import Attached

PORTS, START_SECONDS = 200, 120.0
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_UVICORN_OPTS": "--log-level warning",  # without a line for every request
}
CLASSIC = "workflowType=machine_learning"  # the pages of trainings, not those of prompts and chats


def command_of(host: str, port: int, *more: str) -> list[str]:
    """The command that starts the server; the store comes from `environment_of`, as others can read commands."""
    return [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), *more]


def environment_of(store: str) -> dict[str, str]:
    """The environment of a server on a store."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return kept | QUIET | {"MLFLOW_BACKEND_STORE_URI": store}


def address_of(host: str, port: int) -> str:
    """The address of a server that listens there, for clients on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def free_port(host: str, first: int, ports: int = PORTS) -> int:
    """The first free port of those from `first` on; UserError if none of them is free."""
    _require_own(host)
    for port in range(first, min(first + ports, 65536)):
        with suppress(OSError):
            _listen_once(host, port)
            return port
    which = f"port {first} is not free" if ports == 1 else f"no free port from {first} to {first + ports - 1}"
    raise UserError(f"{which} on {host}. Give another --port or --host.")


def _require_own(host: str) -> None:
    """UserError for an address that is not one of this machine, on which no port can be listened on."""
    try:
        _listen_once(host, 0)
    except OSError as error:
        raise UserError(
            f"--host {one_line(host, MOST_QUOTED)}: not an address of this machine ({error.strerror}). Give "
            "127.0.0.1, 0.0.0.0 for all of its addresses, or one of them."
        ) from error


def _listen_once(host: str, port: int) -> None:
    """OSError where no server can listen there. That of a server that has just ended is free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def wait_until_up(server: Attached, address: str, log: IO[bytes]) -> None:
    """Wait until the server answers; UserError with the end of its log if it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while server.running and time.monotonic() < until:
        with suppress(OSError), urlopen(f"{address}/health", timeout=2):
            return
        time.sleep(0.3)
    log.seek(0)
    output = masked(log.read().decode(errors="replace"))[-2000:]
    raise UserError(f"MLflow's server did not start at {address}. Give another --port or --host. Its output:\n{output}")


def page_of_runs(address: str) -> str:
    """The page of a server on which the runs of its record stand; that of all experiments if there are none yet."""
    asked = json.dumps({"max_results": 1000, "filter": f"name LIKE '{PREFIX}%'"}).encode()
    request = Request(f"{address}/api/2.0/mlflow/experiments/search", asked, {"Content-Type": "application/json"})
    with suppress(OSError, ValueError, KeyError), urlopen(request, timeout=20) as answer:
        return runs_page(address, [one["experiment_id"] for one in json.load(answer)["experiments"]])
    return runs_page(address, [])


def runs_page(address: str, experiments: Sequence[str]) -> str:
    """The page with the runs of these experiments.

    >>> runs_page("http://127.0.0.1:5000", ["3"])
    'http://127.0.0.1:5000/#/experiments/3/runs?workflowType=machine_learning'
    """
    if not experiments:
        return f"{address}/#/experiments?{CLASSIC}"
    if len(experiments) == 1:
        return f"{address}/#/experiments/{experiments[0]}/runs?{CLASSIC}"
    return f"{address}/#/compare-experiments/s?experiments={quote(json.dumps(experiments))}&{CLASSIC}"
