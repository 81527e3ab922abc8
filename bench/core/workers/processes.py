"""Processes that serve their parent through a pipe: they ignore Ctrl-C and have one thread for arithmetic."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Protocol

from mcr_bench.bench.core.interrupts import blocked
from mcr_bench.bench.core.workers.serving import Pipe

# Numerical libraries read these when they are loaded; many workers with many threads each are slower, not faster.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Process(Protocol):
    """A started process, with the methods of `multiprocessing.Process`."""

    @property
    def exitcode(self) -> int | None:
        """Its exit code: None while it lives, and minus the number of a signal that ended it."""

    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


# Starts a process that has this end of a pipe.
Start = Callable[[Pipe], Process]


class Spawned:
    """Starts `target(pipe, *arguments)` by multiprocessing's `spawn`, without the main script of this process.

    The process ends with its parent at the latest. environment: variables for it, in addition to ONE_THREAD.
    """

    def __init__(
        self, name: str, target: Callable[..., None], *arguments: object, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name, self._target, self._arguments = name, target, arguments
        self._environment = {**ONE_THREAD, **(environment or {})}

    def __call__(self, pipe: Pipe) -> Process:
        resource_tracker.ensure_running()  # started by the process below it would unblock Ctrl-C
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=self._target, args=(pipe, *self._arguments), name=self._name, daemon=True)
        with _environment(self._environment), _without_main_script(), blocked():
            process.start()
        return process


class Script:
    """Starts Python code that finds the pipe's file descriptor in `sys.argv[1]`.

    It imports what the code imports and nothing else: of a main script that imports torch, each `Spawned` process
    would pay for it again, in seconds and in memory. Modules are found where this process finds them.
    """

    def __init__(self, code: str) -> None:
        self._code = code

    def __call__(self, pipe: Pipe) -> Process:
        command = [sys.executable, "-P", "-c", self._code, str(pipe.fileno())]
        path = os.pathsep.join(place or os.getcwd() for place in sys.path)
        with blocked():
            return _Interpreter(command, env={**os.environ, **ONE_THREAD, "PYTHONPATH": path}, pass_fds=[pipe.fileno()])


class _Interpreter(subprocess.Popen[bytes]):
    """A `Process`."""

    @property
    def exitcode(self) -> int | None:
        return self.poll()

    def is_alive(self) -> bool:
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)


@contextmanager
def _without_main_script() -> Iterator[None]:
    """Inside the block a process that starts does not import the main script, of which it needs nothing.

    A script without `if __name__ == "__main__"` would start its work again in there.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Inside the block these environment variables are set, for a process that starts in it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
