"""MLflow's web interface on the record: finds a free port and serves until it is stopped."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

from mcr_bench.bench.errors import UserError

FIRST_PORT, START_SECONDS = 5000, 120.0


def serve(uri: str, announce: Callable[[str], None], host: str = "127.0.0.1", port: int | None = None) -> int:
    """Serve the record at `uri` until Ctrl-C and give the exit code; `announce` gets the address once it answers.

    A record that lives on a tracking server has its interface there: only its address is announced.
    """
    if uri.startswith(("http://", "https://")):
        announce(uri)
        return 0
    port = port or free_port(host)
    process = start(uri, host, port)
    try:
        wait_until_up(process, f"http://{host}:{port}")
        announce(f"http://{host}:{port}")
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        process.terminate()
        process.wait()


def start(uri: str, host: str, port: int) -> "subprocess.Popen[bytes]":
    """`mlflow ui` as a child with one server process; it prints errors only."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    command += ["--workers", "1", "--uvicorn-opts", "--log-level error"]
    return subprocess.Popen(command, env=os.environ | quiet, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def free_port(host: str, first: int = FIRST_PORT) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UserError(f"no free port from {first} to {first + 199} on {host}. Stop another server, or give --port.")


def wait_until_up(process: "subprocess.Popen[bytes]", address: str) -> None:
    """Until the server answers; UserError if it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{address}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise UserError(f"the MLflow interface did not start at {address} (see the message above). Give another --port?")
