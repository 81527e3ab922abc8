"""A server that a command has started ends with the command, however that ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mcr_bench.bench.serving import attached as module
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.servers.real import free_port

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "`ui` or `server` ends by SIGTERM, Ctrl-C, kill -9 or the end of its terminal",
    "MLflow's server ends with it, with every process that it has started, and the port is free",
)

# A server as MLflow's: a process that starts another one, which listens; it may be deaf to requests to end.
LISTENER = """
import signal, socket, sys, time
if sys.argv[2] == "deaf":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""
STARTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LISTENER!r}, *sys.argv[1:]])"
COMMAND = """
import os, sys
from mcr_bench.bench.serving.attached import attached
with open(os.devnull, "w+b") as log, attached([sys.executable, *sys.argv[1:]], os.environ, log) as server:
    print("started", flush=True)
    server.wait()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def command(port: int, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """A command that has started a server; request.param: how the server behaves, and whether it starts another."""
    behaviour, code = request.param
    arguments = [sys.executable, "-c", COMMAND, "-c", code, str(port), behaviour]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        wait_for(lambda: listens(port))
        yield process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


SERVERS = pytest.mark.parametrize(
    "command",
    [
        ("polite", LISTENER),
        ("polite", STARTER),
        pytest.param(("deaf", LISTENER), marks=pytest.mark.slow),
        pytest.param(("deaf", STARTER), marks=pytest.mark.slow),
    ],
    ids=["a server", "a server of a server", "a deaf server", "a deaf server of a server"],
    indirect=True,
)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: object, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


@SERVERS
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda s: s.name)
def test_the_server_ends_with_its_command(command: "subprocess.Popen[str]", port: int, sent: signal.Signals) -> None:
    """The command ends by a signal."""
    command.send_signal(sent)
    code = command.wait(60)
    assert code == {signal.SIGINT: code, signal.SIGKILL: -9}.get(sent, 128 + sent)
    wait_for(lambda: not listens(port))


@pytest.mark.parametrize("command", [("polite", STARTER)], ids=["its leader"], indirect=True)
def test_the_process_between_is_killed(command: "subprocess.Popen[str]", port: int) -> None:
    """The process that leads the server's group ends by kill -9."""
    leader = int(Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()[0])
    os.kill(leader, signal.SIGKILL)
    command.wait(60)
    wait_for(lambda: not listens(port))


def test_an_error_in_the_command(port: int, tmp_path: Path) -> None:
    """The command ends by an error of its own."""
    command = [sys.executable, "-c", LISTENER, str(port), "polite"]

    def broken() -> None:
        with (tmp_path / "log").open("w+b") as log, module.attached(command, os.environ, log):
            wait_for(lambda: listens(port))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert not listens(port)


def test_a_server_that_ends_by_itself(tmp_path: Path) -> None:
    """The server ends by itself, and leaves a process behind."""
    port = free_port()
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LISTENER!r}, *sys.argv[1:]])"
    command = [sys.executable, "-c", code, str(port), "deaf"]
    with (tmp_path / "log").open("w+b") as log, module.attached(command, os.environ, log) as server:
        server.wait()
    assert not listens(port)


def test_the_handlers_of_the_program_are_back(tmp_path: Path) -> None:
    """Afterwards SIGTERM means what it meant."""
    before = signal.getsignal(signal.SIGTERM)
    command = [sys.executable, "-c", "pass"]
    with (tmp_path / "log").open("w+b") as log, module.attached(command, os.environ, log) as server:
        assert signal.getsignal(signal.SIGTERM) != before
        server.wait()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
@pytest.mark.parametrize("verb", ["ui", "server"])
def test_the_real_server(verb: str, sent: signal.Signals, port: int, tmp_path: Path) -> None:
    """MLflow's own server, started by `ui` and by `server`."""
    env = os.environ | {"MCR_BENCH_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": ""}
    arguments = [sys.executable, "-m", "mcr_bench.cli", verb, "--port", str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert f"127.0.0.1:{port}" in first
        if verb == "ui":
            assert "/#/experiments?workflowType=machine_learning" in first
        process.send_signal(sent)
        assert process.wait(60) == {signal.SIGTERM: 143, signal.SIGINT: 0, signal.SIGKILL: -9}[sent]
        wait_for(lambda: not listens(port))


@pytest.mark.unprotected
def test_a_plain_child(port: int) -> None:
    """As a plain child process the server listens on after kill -9 of the command."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    with subprocess.Popen([sys.executable, "-c", code, LISTENER, str(port), "polite"], start_new_session=True) as one:
        wait_for(lambda: listens(port))
        one.kill()
        one.wait()
        time.sleep(1)
        assert listens(port)
        os.killpg(one.pid, signal.SIGKILL)
