"""Sixty runs on a Ray cluster of two nodes and an MLflow server, of which each is killed on the way.

Run by hand: python -m mcr_bench.tests.support.runs.ray_comparison [--store postgresql://USER:PASSWORD@HOST/NAME]
One node dies, one worker, the server for twenty seconds, and the server for good; it is started again, and the command
too. All runs have to be finished once, with the numbers of the local executor.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from mcr_bench.tests.support.runs.kill_comparison import say, tables
from mcr_bench.tests.support.runs.measured import MEASURED
from mcr_bench.tests.support.runs.ray_nodes import Nodes, ray_nodes, session, wait_for

ASKED = ["--methods", "joint,ogm-ge,agm,ensemble", "--dataset", "synthetic", "--seeds", "10", "--set", "epochs=2"]
ASKED += ["--set", "dataset.train=400", "--set", "dataset.test=100"]
RUNS, OUTAGE = 60, 20
MEASURED_KEYS = (
    "costs",
    "seconds",
    "seconds_per_step",
    "started",
    "moment",
    "ended",
    "run_id",
    "artifacts",
    "metrics",
    "device",
    "commit",
)


class Server:
    """An MLflow server that may be killed and started again at the same address."""

    def __init__(self, folder: Path, store: str | None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._store = store or f"sqlite:///{folder / 'server.db'}"
        self._files = folder / "served"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self._store, "--artifacts-destination", str(self._files), "--workers", "1"]
        self._process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._answers)

    def kill(self) -> None:
        while pids := session(self._process.pid):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
        self._process.wait()

    def _answers(self) -> bool:
        with suppress(OSError):
            return bool(urlopen(f"{self.uri}/health", timeout=2).status == 200)
        return False


class Command:
    """The comparison, as a user would type it; `ended` is the number of runs that it has told of."""

    def __init__(self, home: Path, *more: str) -> None:
        environment = {**os.environ, "MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        code = "from mcr_bench.cli import main; main()"
        home.mkdir(exist_ok=True)
        self._said, self._table = home / "said.txt", home / "table.json"
        with self._said.open("a") as said, self._table.open("w") as table:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "run", *ASKED, "--json", *more],
                env=environment,
                stdout=table,
                stderr=said,
            )

    @property
    def ended(self) -> int:
        counts = re.findall(r"^\[(\d+)/", self._said.read_text(), re.MULTILINE)
        return int(counts[-1]) if counts else 0

    def until(self, count: int) -> None:
        wait_for(lambda: self.ended >= count or self.process.poll() is not None, 1200)
        assert self.process.poll() is None, f"it ended early: {self._said.read_text()[-2000:]}"

    def end(self) -> tuple[int, dict[str, Any]]:
        code = self.process.wait(1800)
        text = self._table.read_text()
        return code, json.loads(text) if text else {}

    def notes(self) -> list[str]:
        return [line for line in self._said.read_text().splitlines() if not line.startswith("[")]


def trouble(command: Command, nodes: Nodes, doomed: Any, server: Server) -> None:
    """What happens on the way."""
    command.until(RUNS // 6)
    wait_for(lambda: bool(training(doomed.pid)), 60)
    nodes.kill(doomed)
    say(f"a node was killed after {command.ended} runs")
    command.until(RUNS // 3)
    wait_for(lambda: bool(training()), 60)
    os.kill(training()[-1], signal.SIGKILL)
    say(f"a worker was killed after {command.ended} runs")
    command.until(RUNS // 2)
    server.kill()
    say(f"the server was killed after {command.ended} runs")
    time.sleep(OUTAGE)
    server.start()
    say(f"the server is back after {command.ended} runs")
    command.until(2 * RUNS // 3)
    server.kill()
    say(f"the server was killed for good after {command.ended} runs")


def training(leader: int | None = None) -> list[int]:
    """The processes that train now, of the node with this process or of all: grandchildren of tasks of Ray."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,sid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}
    tasks = {int(pid) for pid, _, sid, name in rows if "ray::train_here" in name and leader in (None, int(sid))}
    return sorted(pid for pid, parent in parents.items() if parents.get(parent) in tasks)


def numbers(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Key -> what no clock has measured of a run."""
    kept = {}
    for run in told["runs"]:
        metrics = {name: value for name, value in run["metrics"].items() if name not in MEASURED}
        kept[run["key"]] = {k: v for k, v in run.items() if k not in MEASURED_KEYS} | {"metrics": metrics}
    return kept


def finished_once(uri: str) -> None:
    """AssertionError unless every key has one finished run on the server."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000)
    finished = Counter(
        run.data.tags["key"] for run in found if run.info.status == "FINISHED" and "key" in run.data.tags
    )
    assert len(finished) == RUNS, f"{len(finished)} keys are finished"
    assert set(finished.values()) == {1}, "a key is finished twice"


def compare(folder: Path, store: str | None) -> None:
    """The whole check; AssertionError where anything differs."""
    code, calm = Command(folder / "local", "--jobs", "2").end()
    assert code == 0
    assert len(calm["runs"]) == RUNS, len(calm["runs"])
    say(f"local: {len(calm['runs'])} runs")
    server = Server(folder, store)
    try:
        with ray_nodes() as nodes:
            nodes.add(1)
            doomed = nodes.add(1)
            options = ("--executor", "ray", "--ray-address", nodes.address, "--tracking-uri", server.uri)
            command = Command(folder / "ray", *options)
            trouble(command, nodes, doomed, server)
            code, _ = command.end()
            say(f"the command ended with exit code {code} after {command.ended} runs")
            server.start()
            command = Command(folder / "ray", *options)
            code, told = command.end()
            for line in command.notes():
                say(f"  {line}")
            assert code == 0, f"exit code {code}"
        finished_once(server.uri)
        differing = [
            (key, name, value, numbers(told)[key][name])
            for key, run in numbers(calm).items()
            for name, value in run.items()
            if value != numbers(told)[key][name]
        ]
        assert differing == [], f"numbers differ: {differing[:3]}"
        assert tables(told) == tables(calm), "tables differ"
        say(f"{RUNS} runs finished once; tables and numbers are those of the local executor")
    finally:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default=None)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), chosen.store)


if __name__ == "__main__":
    main()
