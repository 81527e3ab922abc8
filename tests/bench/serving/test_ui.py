"""The web interface on the record: a free port, an answer, and no process left behind."""

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.serving import mlflow_server, ui
from mcr_bench.bench.serving.attached import attached

HOST = "127.0.0.1"


def test_a_port_in_use_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < mlflow_server.free_port(HOST, port) < port + 200


def test_a_tracking_server_has_its_own_interface() -> None:
    said: list[str] = []
    client = SimpleNamespace(search_experiments=lambda **_: [SimpleNamespace(experiment_id="7")])
    record = SimpleNamespace(uri="https://u:p@tracking.example", address="https://***@tracking.example", client=client)
    assert ui.serve(record, HOST, 5000, said.append) == 0  # type: ignore[arg-type]
    assert "https://***@tracking.example/#/experiments/7/runs" in said[0]


def test_a_server_that_ends_at_once_is_an_error_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such store')"]
    with (
        (tmp_path / "log").open("w+b") as log,
        attached(command, os.environ, log) as server,
        pytest.raises(UserError, match="no such store"),
    ):
        mlflow_server.wait_until_up(server, "http://127.0.0.1:9", log)


def test_the_record_is_served_until_interrupted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record, pages = Record(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path), []

    def look(line: str) -> None:
        address = line.split()[2]
        assert "/#/experiments?workflowType=machine_learning" in address
        with urlopen(address) as page:
            pages.append((address, page.read()))
        raise KeyboardInterrupt

    assert ui.serve(record, HOST, 5600, look) == 0
    address, page = pages[0]
    assert b"<html" in page
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, int(address.rpartition(":")[2].partition("/")[0]))) != 0
    assert capfd.readouterr() == ("", "")
