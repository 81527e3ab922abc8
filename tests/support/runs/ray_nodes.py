"""A Ray cluster on this machine, whose nodes are added and killed by tests, as `ray start` does it on many machines."""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
Node = subprocess.Popen[bytes]


def require_ray() -> None:
    """Skip the test where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'mcr-bench[ray]'")


def wait_for(condition: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


class Nodes:
    """A head that trains nothing, and the nodes that were added to it."""

    def __init__(self) -> None:
        self.started: list[Node] = []
        self.address = f"127.0.0.1:{_free_port()}"
        self.head = self._start("--head", f"--port={self.address.partition(':')[2]}", "--num-cpus=0")

    def add(self, cpus: int = 1) -> Node:
        return self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def add_blind(self, folder: Path, cpus: int = 1) -> Node:
        """A node that does not see what is in `folder`, as it has a mount namespace of its own."""
        if os.geteuid() or shutil.which("unshare") is None:
            pytest.skip("hiding a folder from a node needs root and unshare")
        folder.mkdir(exist_ok=True)
        hide = f"mount -t tmpfs none '{folder}' && exec \"$@\""
        hiding = ["unshare", "--mount", "sh", "-c", hide, "sh"]
        return self._start(f"--address={self.address}", f"--num-cpus={cpus}", before=hiding)

    def kill(self, node: Node) -> None:
        """Everything that runs there, as when a machine loses power."""
        while pids := session(node.pid):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.poll()
        node.wait()

    def stop(self) -> None:
        for node in reversed(self.started):
            self.kill(node)

    def _start(self, *options: str, before: list[str] | None = None) -> Node:
        command = [str(Path(sys.executable).with_name("ray")), "start", *options, "--block", "--disable-usage-stats"]
        command += ["--include-dashboard=false"] if "--head" in options else []
        with tempfile.NamedTemporaryFile("w") as said:
            node = subprocess.Popen(
                [*(before or []), *command],
                env=os.environ | QUIET,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.started.append(node)
            log = Path(said.name)
            wait_for(lambda: node.poll() is not None or "Ray runtime started" in log.read_text())
            assert node.poll() is None, log.read_text()
        return node


def session(leader: int) -> list[int]:
    """The processes that live in the session of this process."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "Z" not in line.split()[1]]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    require_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        nodes = Nodes()
        try:
            yield nodes
        finally:
            nodes.stop()
