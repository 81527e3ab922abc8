"""MLflow's web interface on the record: find a free port, and serve until Ctrl-C."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING
from urllib.request import urlopen

from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.bench.record.tracking import Record

PORTS, START_SECONDS = 200, 120.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def serve(record: "Record", host: str, port: int, say: Callable[[str], object]) -> int:
    """Serve the record until Ctrl-C, and return the exit code; `say` prints the address when the server answers.

    A record on a tracking server has its interface there: only its address is printed.
    """
    if record.uri.startswith(("http://", "https://")):
        say(f"The record is on a tracking server, which shows it at {record.address}")
        return 0
    port = free_port(host, port)
    address = f"http://{host}:{port}"
    with tempfile.TemporaryFile() as log, start(record.uri, host, port, log) as process:
        try:
            wait_until_up(process, address, log)
            say(f"MLflow UI: {address} (Ctrl-C ends it)")
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            process.terminate()


def start(uri: str, host: str, port: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start MLflow's server on a store, as a child process whose output goes to `log`."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    command += ["--workers", "1"]
    return subprocess.Popen(command, env=os.environ | QUIET, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def free_port(host: str, first: int) -> int:
    """The first free port of the 200 from `first` on; UserError if none of them is free."""
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # the port of a server that has just ended is free
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UserError(f"no free port on {host} from {first} to {first + PORTS - 1}. Give another --port or --host.")


def wait_until_up(process: "subprocess.Popen[bytes]", address: str, log: IO[bytes]) -> None:
    """Wait until the server answers; UserError with the end of its log if it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    log.seek(0)
    output = log.read().decode(errors="replace")[-2000:]
    raise UserError(f"the MLflow UI did not start at {address}. Give another --port or --host. Its output:\n{output}")
