"""Runs are moved from a folder that may only be read, into a tracking server and back."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mcr_bench.bench.exchange.target import Target
from mcr_bench.tests.support.records.homes import call, row_of
from mcr_bench.tests.support.records.moving import RUNS, content
from mcr_bench.tests.support.servers.real import Server

MERGE = """
mount --bind one one && mount -o remount,ro,bind one || exit 99
exec "$@"
"""


def merged_read_only(folder: Path) -> str:
    """What `merge` says where `one` is on a read-only file system."""
    command = [sys.executable, "-m", "mcr_bench.cli", "merge", "one"]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", MERGE, "bash", *command],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode in (1, 99) and "'one'" not in done.stdout:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()[:80]}")
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_home_that_may_only_be_read(homes: Path) -> None:
    with closing(sqlite3.connect(homes / "one/mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not list((homes / "one").glob("mlflow.db-*"))  # whoever reads it would have to make them
    assert f"{RUNS} runs added" in merged_read_only(homes)
    assert content(homes / "here") == content(homes / "one")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_what_a_killed_writer_left_beside_its_database_counts(homes: Path) -> None:
    run_id = row_of(homes / "one").run_id
    with closing(sqlite3.connect(homes / "one/mlflow.db")) as connection:
        connection.execute("UPDATE runs SET status = 'KILLED' WHERE run_uuid = ?", [run_id])
        connection.commit()
        for file in (homes / "one").glob("mlflow.db*"):  # as they are before the connection is closed
            shutil.copy(file, homes / file.name)
    for file in homes.glob("mlflow.db*"):
        shutil.move(file, homes / "one" / file.name)
    assert "3 runs added, 0 finished here already, 1 unfinished there." in merged_read_only(homes)


@pytest.fixture
def server(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server(homes / "server").start().wait()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.uri)
    yield running
    running.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_into_a_server_and_back(homes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{RUNS} runs added" in call("merge", "one").stdout
    assert f"0 runs added, {RUNS} finished here already" in call("merge", "one").stdout
    assert "1 run hidden" in call("forget", "--method", "joint", "--yes").stdout
    assert "1 run brought back" in call("forget", "--undo", "--yes").stdout
    call("export", "server.zip")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    call("import", "server.zip")
    assert content(homes / "here") == content(homes / "one")


@pytest.mark.slow
def test_a_server_that_ends_in_the_middle(homes: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    add, added = Target.add, list[str]()

    def add_one(self: Target, *args: object) -> None:
        if added:
            server.signal(signal.SIGKILL)
        add(self, *args)  # type: ignore[arg-type]
        added.append("one")

    with monkeypatch.context() as patch:
        patch.setattr(Target, "add", add_one)
        told = call("merge", "one", code=1).stderr
    assert told.count("\n") == 1
    server.kill()
    server.start().wait()
    assert f"{RUNS - 1} runs added, 1 finished here already" in call("merge", "one").stdout
    call("export", "server.zip")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    call("import", "server.zip")
    assert content(homes / "here") == content(homes / "one")
