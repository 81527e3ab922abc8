"""The tracking server: which databases it takes, whom it lets in, and what it tells clients."""

from pathlib import Path

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.serving import tracking_server as module
from mcr_bench.bench.serving.mlflow_server import address_of, environment_of, free_port, runs_page


def test_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.checked("sqlite:////a/b.db") == "sqlite:////a/b.db"
    for wrong in ("mysql://ann:secret@h/n", "results", "http://ann:secret@h"):
        with pytest.raises(UserError, match="not a database") as told:
            module.checked(wrong)
        assert "secret" not in str(told.value)
    monkeypatch.setattr(module, "find_spec", lambda name: name == "psycopg" or None)
    for given in ("postgresql://ann:pw@h/n", "postgres://ann:pw@h/n", "postgresql+psycopg://ann:pw@h/n"):
        assert module.checked(given) == "postgresql+psycopg://ann:pw@h/n"
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert module.checked("postgresql://ann:pw@h/n") == "postgresql+psycopg2://ann:pw@h/n"
    assert module.checked(None) is None


def test_an_address_of_no_machine_and_a_file_that_is_no_database_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--host 192\.0\.2\.1: not an address of this machine"):
        free_port("192.0.2.1", 5000)
    file = tmp_path / "file"
    file.write_text("not a database" * 100)
    with pytest.raises(UserError, match=f"the database '{file}' cannot be used: file is not a database"):
        module.serve(f"sqlite:///{file}", "127.0.0.1", free_port("127.0.0.1", 5000), tmp_path / "server", print)


def test_the_password_is_in_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
    environment = environment_of("postgresql://ann:secret@h/n")
    assert environment["MLFLOW_BACKEND_STORE_URI"].endswith("ann:secret@h/n")
    assert "MLFLOW_TRACKING_URI" not in environment
    assert environment["DO_NOT_TRACK"] == environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_only_names_of_this_machine_are_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.HOSTS, raising=False)
    assert [module.allowed_hosts(host) for host in ("127.0.0.1", "localhost", "::1")] == [{}, {}, {}]
    names = module.allowed_hosts("0.0.0.0")[module.HOSTS].split(",")
    assert {"localhost", "localhost:*", "0.0.0.0:*"} <= set(names)
    assert not {"*", "10.*", "evil.example"} & set(names)
    monkeypatch.setenv(module.HOSTS, "mine.example")
    assert module.allowed_hosts("0.0.0.0") == {}


def test_addresses() -> None:
    assert [address_of(host, 5) for host in ("0.0.0.0", "::", "::1", "node3")] == [
        "http://127.0.0.1:5",
        "http://[::1]:5",
        "http://[::1]:5",
        "http://node3:5",
    ]
    assert runs_page("http://h:5", ["1", "2"]).startswith("http://h:5/#/compare-experiments/s?experiments=%5B%221%22")


def test_what_clients_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "page_of_runs", lambda address: f"{address}/#/runs")
    said = module.lines("http://127.0.0.1:5", "127.0.0.1", 5, "sqlite:///x", Path("/f"))
    assert said[1:] == [
        "Runs: http://127.0.0.1:5/#/runs",
        "Clients:",
        "  export MLFLOW_TRACKING_URI=http://127.0.0.1:5",
    ]
    monkeypatch.setattr(module.socket, "getfqdn", lambda: "node3.example")
    said = module.lines("http://127.0.0.1:5", "0.0.0.0", 5, "sqlite:///x", Path("/f"))
    assert said[1] == "Runs: http://node3.example:5/#/runs"
    assert "no password" in said[-1]


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    port = free_port("127.0.0.1", 5000)
    with pytest.raises(UserError, match=r"the database '/proc/x\.db' cannot be used: unable to open.*may write to"):
        module.serve("sqlite:////proc/x.db", "127.0.0.1", port, tmp_path / "server", print)
    with pytest.raises(UserError, match=r"the folder '/proc/server' cannot be made.*Set MCR_BENCH_HOME"):
        module.serve(None, "127.0.0.1", port, Path("/proc/server"), print)
