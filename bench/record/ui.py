"""MLflow's web interface on the record: finds a free port and serves until it is stopped."""

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
    """Serve the record until Ctrl-C and give the exit code; `say` gets the address once it answers.

    A record that lives on a tracking server has its interface there: only its address is said.
    """
    if record.uri.startswith(("http://", "https://")):
        say(f"The record is on a tracking server, which shows it at {record.uri}")
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
    """MLflow's server on a store, as a child with one server process; what it prints goes to `log`."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    command += ["--workers", "1"]
    return subprocess.Popen(command, env=os.environ | QUIET, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nobody listens on; UserError where there is none near."""
    for port in range(first, first + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended is no hindrance
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UserError(f"no free port on {host} from {first} to {first + PORTS - 1}. Give another --port or --host.")


def wait_until_up(process: "subprocess.Popen[bytes]", address: str, log: IO[bytes]) -> None:
    """Until the server answers; UserError with the end of its log if it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    log.seek(0)
    said = log.read().decode(errors="replace")[-2000:]
    raise UserError(f"the MLflow UI did not start at {address}. Give another --port or --host. It said:\n{said}")
