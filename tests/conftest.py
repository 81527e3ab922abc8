"""What all tests need of the process that they run in."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest


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


@pytest.fixture(scope="session", autouse=True)
def _new_records_are_copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new record of this process is a copy of its first one: making the tables takes MLflow a second.

    Records that commands make in processes of their own are made by MLflow.
    """
    from mcr_bench.bench.record import tracking

    made, template = tracking.prepare_file, tmp_path_factory.mktemp("record") / "mlflow.db"

    def prepare_file(file: Path, artifacts: Path) -> None:
        killed = file.parent.glob(f"{file.name}.new*")  # what a killed command left is for the record itself to clear
        if not file.exists() and not any(killed):
            made(template, template.parent / "artifacts")
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(template, file)
            with closing(sqlite3.connect(file)) as connection, connection:
                place = f"{artifacts.as_uri()}/0"
                connection.execute("UPDATE experiments SET artifact_location = ?", [place])
        made(file, artifacts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "prepare_file", prepare_file)
        yield


@pytest.fixture(autouse=True)
def _no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is not folded to the width of the terminal that tests are started in; a test of that sets its own."""
    monkeypatch.delenv("COLUMNS", raising=False)
