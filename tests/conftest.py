"""What all tests need of the process that they run in."""

import os
import signal


def pytest_configure() -> None:
    """Ctrl-C as in a terminal: a shell's background jobs ignore it, and so would the commands that tests send it to."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _on_a_core_of_its_own(os.environ.get("PYTEST_XDIST_WORKER", ""))


def _on_a_core_of_its_own(worker: str) -> None:
    """Where tests run side by side, a command that a test starts takes no core, and so no training worker, of others.

    Every training worker is a Python that imports PyTorch: seconds, which tests of commands would pay once per core.
    """
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
