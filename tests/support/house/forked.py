"""`mcr-bench` for scripts that call it often: every call is a process of its own, but PyTorch is imported once.

`command_in` puts an executable `mcr-bench` into a folder. It hands its arguments, folder, environment and open files to
a server, which has imported what commands need, trains nothing itself, and forks a child for every call.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(16)))
"""


@contextmanager
def command_in(folder: Path) -> Iterator[None]:
    """Inside the block, `folder` has an executable `mcr-bench`."""
    address = str(folder / "server")
    client = folder / "mcr-bench"
    client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
    client.chmod(0o755)
    server = subprocess.Popen([sys.executable, "-m", __name__, address], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline(), "the server of commands has not started"
        yield
    finally:
        server.terminate()
        server.communicate()


def serve(address: str) -> None:
    """Answer calls, one after the other, until the process is ended."""
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(address)
        place.listen()
        print("ready", flush=True)
        while True:
            caller, _ = place.accept()
            with caller:
                caller.sendall(str(_called(caller)).encode())


def _called(caller: socket.socket) -> int:
    """The exit code of a call."""
    _, files, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as sent:
        arguments, folder, environment = json.loads(sent.read())
    child = os.fork()
    if not child:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["mcr-bench", *arguments]
        main()
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    # What every command that trains or reads a record imports.
    import mlflow  # noqa: F401
    import torch  # noqa: F401

    import mcr_bench.bench.analysis.comparisons
    import mcr_bench.bench.executors.local
    import mcr_bench.bench.record.tracking  # noqa: F401
    from mcr_bench.cli import main

    serve(sys.argv[1])
