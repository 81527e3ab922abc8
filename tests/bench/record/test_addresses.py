"""Addresses of stores as users give them: what cannot be used is one sentence, and no password is shown."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcr_bench.bench import credentials
from mcr_bench.bench.core.home import shown
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.bench.printable import masked
from mcr_bench.bench.record import addresses
from mcr_bench.bench.record.addresses import TRACKING, required_address
from mcr_bench.bench.record.remote_writing import RemoteWriting
from mcr_bench.bench.record.tracking import Record
from mcr_bench.cli import app

PW = "s3cRetPw9"
REFUSED = {
    f"ann:{PW}@host:5000": "begins with no scheme",
    f"http:/ann:{PW}@host": "begins with no scheme",
    f"//ann:{PW}@host/x": "begins with no scheme",
    f"http:\\\\ann:{PW}@host": "begins with no scheme",
    f"sqlite://ann:{PW}@host/x": "names no file",
    f"htp://ann:{PW}@host": "no store has an address that begins with htp://",
    f"FTP://ann:{PW}@host": "no store has an address that begins with ftp://",
    f"s3://key:{PW}@bucket/x": "no store has an address that begins with s3://",
    f"postgres://ann:{PW}@host/x": "no store has an address that begins with postgres://",
    f"postgresql://ann:{PW}@host:port/x": "host or port cannot be read",
    f"mysql+nothing://ann:{PW}@host/x": "names no known library",
    f"http://ann:{PW}@": "host or port cannot be read",
    f"http://ann:{PW}@host:port": "host or port cannot be read",
    f"http://[::1:{PW}@host": "host or port cannot be read",
    "http://[::1": "host or port cannot be read",
    "http://": "host or port cannot be read",
}
USED = [
    f"http://ann:a,{PW}@host",
    f"http://ann:a'{PW}@host",
    f'http://ann:a"{PW}@host',
    f"http://ann:p%40{PW}@host",
    f"http://ann:5000/{PW}@host",
    f"http://ann:@/{PW}@host",
    f"http://{PW}{PW}@host",
    f"http://host/?auth={PW}",
    f"http://host/x?page=2&jwt={PW}#token={PW}",
    f"http://ann:{'x' * 600}{PW}@host",
]


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_given", set())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_cannot_be_used_is_told_in_a_sentence(address: str) -> None:
    with pytest.raises(UserError, match=REFUSED[address]) as told:
        Record(uri=address)
    assert str(told.value).startswith("the tracking URI '")
    assert PW not in str(told.value)
    assert "Give sqlite:///FILE for a file, http://HOST:PORT for" in masked(str(told.value))


@pytest.mark.parametrize("address", [*USED, *REFUSED])
def test_what_libraries_quote_of_an_address_is_masked(address: str) -> None:
    credentials.conceal(address)
    last = address.rpartition(":")[2].rpartition("/")[2].lower()
    texts = [
        address,
        repr(address),
        f"Max retries exceeded with url: /{last}/api",
        "y" * 150 + f" {address}",
        shown(address),
    ]
    for text in [*texts, quoted(ValueError(texts[3]))]:
        assert PW.lower() not in masked(text).lower()
        assert "s3cR" not in masked(text)


def test_what_is_no_secret_stays_as_it_is() -> None:
    for address in ("sqlite:////home/a@b/x.db", "postgresql://mlflow:mlflow@localhost/mlflow", "http://ann:5000@h"):
        credentials.conceal(address)
    text = "/home/a@b/mlflow.db at http://127.0.0.1:5000 of ann"
    assert masked(text) == text
    assert masked("as mlflow:mlflow@localhost") == "as ***@localhost"


@pytest.mark.parametrize(
    ("scheme", "missing", "package"),
    [
        ("postgresql+psycopg2", "psycopg2", "'mcr-bench[postgresql]'"),
        ("mysql", "MySQLdb", "mysqlclient"),
        ("mssql+pyodbc", "pyodbc", "pyodbc"),
    ],
)
def test_a_library_that_is_missing_is_named(
    scheme: str, missing: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError) as told:
        required_address(f"{scheme}://ann:{PW}@host/name", TRACKING)
    assert str(told.value) == (
        f"the tracking URI '{scheme}://***@host/name' cannot be used: {missing}, which it needs, is missing. Install "
        f"it: pip install {package}"
    )


def test_a_store_of_another_package_may_have_a_scheme_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "entry_points", lambda **_: [type("Point", (), {"name": "mine"})])
    assert required_address("MINE://host", TRACKING) == "mine://host"


def test_an_error_of_a_store_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError(f"cannot use {PW}")

    monkeypatch.setattr(RemoteWriting, "_raw", property(fail))
    with pytest.raises(UserError, match=r"the record at 'http://\*{3}@host' cannot be opened: cannot use \*{3}\. Give"):
        Record(f"http://ann:{PW}@host", home=tmp_path)


@pytest.mark.parametrize(
    ("verb", "address"),
    [
        (["results"], f"ann:{PW}@host:5000"),
        (["run", "--plan", "--methods", "joint", "--dataset", "synthetic"], f"ftp://ann:{PW}@host"),
        (["ui"], f"http://[::1:{PW}@host"),
        (["results"], f"http://ann:a,{PW}\udcff@host"),
        (["server"], f"ann:{PW}@host:5000"),
        (["server"], f"postgresql://ann:{PW}@host:port/name"),
        (["results"], f"http://host:5000/{PW}@127.0.0.1:9"),
    ],
)
def test_a_verb_shows_no_password(
    verb: list[str], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    option = "--database" if verb == ["server"] else "--tracking-uri"
    done = CliRunner().invoke(app, [*verb, option, address])
    assert done.exit_code in (1, 2), done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert PW not in done.output
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and PW in file.read_text(errors="replace")]
