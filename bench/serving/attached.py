"""A program that ends with this one, with all processes that it has started, however this one ends.

Between the two stands a small process that leads their group. It waits for the end of a pipe, which comes with the end
of this program even after kill -9, and then ends the group.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Never

SECONDS = 5.0  # in which a program that is asked to end has to do so
LEADER = f"""
import os, signal, subprocess, sys, threading, time
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: None)  # those for the group are for the others
def end():
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + {SECONDS}
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)
def watch():
    while os.read(0, 1):
        pass
    end()
threading.Thread(target=watch, daemon=True).start()
child.wait()
end()
"""


class Attached:
    """A running program.

    command: the program and its arguments.
    environment: its variables.
    log: where its output goes.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
        self._leader = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LEADER, *command],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._leader.poll() is None

    def wait(self) -> None:
        """Wait until it has ended."""
        self._leader.wait()

    def end(self) -> None:
        """End it, and every process of its group."""
        if self._leader.stdin is not None:
            self._leader.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._leader.wait(SECONDS + 1)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._leader.pid, signal.SIGKILL)
        self._leader.wait()


@contextmanager
def attached(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Iterator[Attached]:
    """The program, which ends with the block: after an error, Ctrl-C, SIGTERM and the end of the terminal too."""
    before = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        program = Attached(command, environment, log)
        try:
            yield program
        finally:
            program.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> Never:
    sys.exit(128 + number)
