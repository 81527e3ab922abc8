"""A real tracking server in a process of its own, and commands of the program that use it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

PATIENT = 240.0  # a machine under load takes long to import MLflow


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """MLflow's server on an SQLite file in a folder; it keeps its port when it is started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self) -> "Server":
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--port", str(self.port)]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def wait(self) -> "Server":
        until = time.monotonic() + PATIENT
        while time.monotonic() < until:
            with suppress(OSError), urlopen(f"{self.uri}/health", timeout=5):
                return self
            time.sleep(0.2)
        raise TimeoutError((self.folder / "log.txt").read_text())

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the server."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


@dataclass
class Told:
    """What a command has said, line by line with the time, and how it ended."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    code: int = 0

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def when(self, text: str) -> float:
        """The time of the first line with this text."""
        return next(when for when, line in self.lines if text in line)


def run(
    home: Path, uri: str, arguments: list[str], steps: dict[str, Callable[["subprocess.Popen[str]"], object]]
) -> Told:
    """Run a command; each step is taken once, when a line holds its text."""
    env = os.environ | {"MCR_BENCH_HOME": str(home), "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1"}
    command, told, left = [sys.executable, "-m", "mcr_bench.cli", *arguments], Told(), dict(steps)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.lines.append((time.monotonic(), line.rstrip()))
            for text in [text for text in left if text in line]:
                left.pop(text)(process)
    told.code = process.returncode
    return told
