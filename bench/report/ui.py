"""The MLflow UI on the record."""

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.bench.tracking import Record

TRIED_PORTS = 20


def serve(record: "Record", host: str, port: int, say: Callable[[str], object]) -> int:
    """Run the UI until it is stopped and return its exit code; a tracking server has one of its own already."""
    if record.uri.startswith(("http://", "https://")):
        say(f"The record is on a tracking server, which shows it at {record.uri}")
        return 0
    chosen = free_port(host, port)
    say(f"MLflow UI: http://{host}:{chosen} (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", record.uri]
    command += ["--default-artifact-root", (record.home / "artifacts").as_uri()]
    return subprocess.call([*command, "--host", host, "--port", str(chosen), "--workers", "1"])


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nobody listens on; UserError where there is none near."""
    for port in range(first, first + TRIED_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise UserError(f"no free port on {host} from {first} to {first + TRIED_PORTS - 1}. Give another --port or --host.")
