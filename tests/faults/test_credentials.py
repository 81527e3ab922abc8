"""Credentials in addresses, headers and variables appear nowhere: not in errors, pages, notes, tags or logs."""

import ast
import json
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

import pytest
from typer.testing import CliRunner

import mcr_bench
from mcr_bench.bench.commands import verb
from mcr_bench.bench.commands.output import nothing_in, say
from mcr_bench.bench.commands.reporting import write_html_report
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.printable import MASK, mask_addresses, masked
from mcr_bench.bench.record.outbox.server import reason_of, unavailable
from mcr_bench.bench.record.remote_writing import RemoteWriting
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Job
from mcr_bench.bench.serving import tracking_server
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records.homes import COMPARE, SMALL, call, change, copy_of, make_home
from mcr_bench.tests.support.records.many_runs import specs
from mcr_bench.tests.support.servers.fake import bad_server
from mcr_bench.tests.support.servers.real import Server, run

FAULT = Fault(
    "a tracking URI, a database URI or a variable holds a password or a token",
    "it is masked wherever the program shows or records a text: errors, notes, tags, tracebacks, pages",
)
SECRET = "hunter2-s3cret"
TEXTS = [
    f"https://ann:{SECRET}@example.org:5000/path",
    f"https://{SECRET}@example.org",
    f"http://ann:{SECRET}/with/slash@example.org",
    f"http://ann:with@{SECRET}@example.org",
    f"postgresql://ann:{SECRET}@host/name?sslmode=require",
    f"postgresql+psycopg2://ann:{SECRET}@host:5432/name",
    f"mysql+pymysql://ann:{SECRET}@host/name",
    f"'s3://key:{SECRET}@bucket/x' and ftp://ann:{SECRET}@host/x",
    f"https://example.org/runs?page=1&token={SECRET}",
    f"https://example.org/?access_token={SECRET}#top",
    f"https://blob.example.org/x?sv=1&sig={SECRET}",
    f"https://s3.example.org/x?X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}",
    f"Authorization: Basic {SECRET}",
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"connection failed: host=h user=ann password={SECRET} dbname=x",
    f'{{"password": "{SECRET}"}}',
    f"connect(password='{SECRET} with a space')",
    f'{{"about": "{{\\"password\\": \\"{SECRET}\\"}}"}}',
    f"HTTPConnectionPool: Max retries exceeded (http://ann:{SECRET}@h:1/api)\n  next line",
]
PLAIN = [
    "http://127.0.0.1:5000/#/experiments/1/runs",
    "http://host:5000/path@x and mail to ann@example.org",
    "sqlite:////home/ann/results/mlflow.db",
    "file:///home/a@b/c.npz",
    "encoder.text.tokens=8 class_token=3 key=abc token=7",
    "basic training, bearer of news; password: whoever",
    "https://[::1]:5000/a?page=2&order=key",
    "'mapping' of key: value",
]
FAST = ("results", "json", "csv")
NAMES = ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "DATABRICKS_TOKEN"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    """A text as libraries write it."""
    assert SECRET not in mask_addresses(text)
    assert MASK in mask_addresses(text)
    assert mask_addresses(mask_addresses(text)) == mask_addresses(text)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts_stay_as_they_are(text: str) -> None:
    """A text that looks a little like an address with a password."""
    assert mask_addresses(text) == text


@pytest.mark.parametrize("name", NAMES)
def test_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a variable, quoted by a library."""
    monkeypatch.setenv(name, SECRET)
    assert masked(f"login with {SECRET!r} failed") == f"login with '{MASK}' failed"


def test_the_password_of_the_variable_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of MLFLOW_TRACKING_URI alone, also as it reads without escapes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:p%40ss-word@host")
    assert masked("wrong: p@ss-word or p%40ss-word") == f"wrong: {MASK} or {MASK}"


def test_folders_are_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable PWD names the working folder."""
    monkeypatch.setenv("PWD", "/home/ann/work")
    monkeypatch.setenv("OLDPWD", "/home/ann")
    assert masked("/home/ann/work/results") == "/home/ann/work/results"


@pytest.mark.parametrize("command", ["results", "compare", "run", "report", "ui"])
@pytest.mark.parametrize("way", ["option", "variable"])
def test_errors_of_verbs(command: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb cannot reach its server."""
    uri = f"http://ann:{SECRET}@127.0.0.1:9"
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri if way == "variable" else "")
    more = ["--methods", "joint", "--dataset", "synthetic", "--seeds", "1"] if command == "run" else []
    done = CliRunner().invoke(app, [command, *more, *(["--tracking-uri", uri] if way == "option" else [])])
    assert done.exit_code == 1
    assert SECRET not in done.output
    assert f"http://{MASK}@127.0.0.1:9" in done.output
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]


def test_a_wrong_password() -> None:
    """The server refuses the password, and says which it was."""
    with bad_server("wrong password 401") as uri:
        done = CliRunner().invoke(app, ["results", "--tracking-uri", uri.replace("//", f"//ann:{SECRET}@")])
    assert done.exit_code == 1
    assert "does not accept the credentials" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize("database", ["mysql", "oracle", "postgres"])
def test_errors_of_server(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`server` refuses a database, or lacks its driver."""
    monkeypatch.setattr(tracking_server, "find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["server", "--database", f"{database}://ann:{SECRET}@h/n"])
    assert done.exit_code == 2
    assert SECRET not in done.output


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return copy_of(template, tmp_path / "home", monkeypatch)


@pytest.fixture
def record(home: Path) -> Record:
    return Record(home=home)


def test_why_a_run_failed(record: Record) -> None:
    """A run fails with an error that quotes a password: tag, traceback and row."""
    spec = next(specs(1, 1, 1))
    run_id = record.start(spec)
    record.fail(spec, f"Traceback (most recent call last):\nOSError: cannot open https://ann:{SECRET}@host/data")
    (row,) = [row for row in record.rows() if row.key == spec.key]
    assert row.failure == f"OSError: cannot open https://{MASK}@host/data"
    kept = Path(record.client.download_artifacts(str(run_id), "failure.txt")).read_text()
    assert MASK in kept
    assert SECRET not in kept


def test_what_a_worker_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's traceback quotes a token of its environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    failed = failure_of(_job(), ValueError(f"token {SECRET} is refused by https://ann:x-y-z@host"))
    assert SECRET not in failed.traceback + failed.reason
    assert "x-y-z" not in failed.traceback + failed.reason


@pytest.mark.slow
def test_the_page_of_a_report(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """report.html names the record."""
    monkeypatch.setattr(record, "uri", f"https://ann:{SECRET}@host/mlflow")
    page = write_html_report(record, None, "ensemble", "joint", tmp_path / "report.html").read_text()
    assert SECRET not in page
    assert f"https://{MASK}@host/mlflow" in page


def test_notes_of_an_outage(tmp_path: Path) -> None:
    """Notes on a server that does not answer, the folder of what it lacks, and the error at the end."""
    uri, said = f"http://ann:{SECRET}@host:5000", list[str]()
    writing = RemoteWriting(uri, tmp_path, said.append, 1.0)
    writing._tell_of_others()
    assert SECRET not in f"{writing._address} {writing._folder} {unavailable(uri, OSError(uri))} {said}"
    assert RemoteWriting(uri.replace(SECRET, "another"), tmp_path, said.append, 1.0)._folder == writing._folder
    assert SECRET not in reason_of(OSError(f"cannot use {uri}"))


def test_what_is_printed(capsys: pytest.CaptureFixture[str], record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is printed, on both streams, also as JSON."""
    monkeypatch.setattr(record, "uri", f"https://ann:{SECRET}@host/mlflow")
    for text in (nothing_in(record), json.dumps({"artifacts": f"ftp://ann:{SECRET}@host/1"})):
        say(text)
        say(text, err=True)
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert MASK in told.out
    assert json.loads(told.out.splitlines()[-1]) == {"artifacts": f"ftp://{MASK}@host/1"}


@pytest.mark.parametrize("where", range(150, 210, 4))
def test_a_text_that_is_cut(where: int) -> None:
    """A text that is cut short in the middle of an address is masked before it is cut."""
    text = "x" * where + f" http://ann:{SECRET}@host"
    told = reason_of(OSError(text)) + failure_of(_job(), OSError("y" * 1800 + text)).reason
    assert not any(part in told for part in (SECRET[:4], SECRET[4:]))


MADE = {
    "results": ("results",),
    "json": ("results", "--json"),
    "csv": ("results", "--csv", "runs.csv"),
    "compare": COMPARE,
    "tables": ("tables",),
    "paper": ("tables", "--paper", "--format", "csv", "--output", "paper.csv"),
    "report": ("report", "--baseline", "joint"),
}
PLANTED = ("failure", "preset_origin", "protocol_card", "commit", "device", "platform", "version/torch", "precision")


@pytest.mark.parametrize("made", [pytest.param(one, marks=[] if one in FAST else pytest.mark.slow) for one in MADE])
def test_what_is_made_of_a_record(home: Path, made: str) -> None:
    """Tags and addresses of files in a record hold passwords, as another program, or somebody by hand, wrote them"""
    text = f"https://ann:{SECRET}@host/x"
    assert change(home, f"UPDATE tags SET value = ? WHERE key IN {PLANTED}", text)
    assert change(home, "UPDATE runs SET artifact_uri = ?", f"ftp://ann:{SECRET}@host/x")
    assert change(home, "UPDATE tags SET value = ? WHERE key = 'seed' AND value = '1'", text)  # cannot be read
    assert SECRET not in CliRunner().invoke(app, list(MADE[made])).output
    files = [path for path in home.parent.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_an_error_that_nobody_expected(capsys: pytest.CaptureFixture[str]) -> None:
    """A library fails with an error that quotes the address of the database."""

    def fail() -> None:
        raise ValueError(f"Could not parse 'postgresql://ann:{SECRET}@host/name'")

    with pytest.raises(SystemExit) as ended:
        verb.end_with(fail)
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in told
    assert f"ValueError: Could not parse 'postgresql://{MASK}@host/name'" in told


@pytest.mark.slow
def test_a_comparison_on_a_server(tmp_path: Path) -> None:
    """Runs are trained, recorded, read, exported and put on a page with a password in the tracking URI."""
    server, home = Server(tmp_path / "server").start().wait(), tmp_path / "home"
    uri = server.uri.replace("//", f"//ann:{SECRET}@")
    small = [word for name, (value,) in SMALL.items() for word in ("--set", f"{name}={value}")]
    train = ["run", "--methods", "joint", "--dataset", "synthetic", "--seeds", "2", "--set", "epochs=1", *small]
    try:
        for arguments in (train, ["export", str(tmp_path / "runs.zip")], ["results"], ["tables"], ["report"]):
            told = run(home, uri, arguments, {})
            assert (told.code, SECRET in told.text) == (0, False), told.text
    finally:
        server.kill()
    with ZipFile(tmp_path / "runs.zip") as archive:
        archive.extractall(tmp_path / "runs")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_no_text_holds_the_plain_address() -> None:
    """No code puts the plain tracking URI of a record into a text: `address` is for that."""
    root = Path(mcr_bench.__file__).parent
    for path in [*root.glob("bench/**/*.py"), root / "cli.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Attribute):
                assert node.value.attr != "uri", path


@pytest.mark.unprotected
def test_without_a_mask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without masking an error shows the password of the tracking URI"""
    monkeypatch.setattr("mcr_bench.bench.commands.output.masked", lambda text: text)
    monkeypatch.setattr("mcr_bench.bench.record.outbox.server.masked", lambda text: text)
    with suppress(SystemExit):
        app(["results", "--tracking-uri", f"http://ann:{SECRET}@127.0.0.1:9"], standalone_mode=True)
    assert SECRET in capsys.readouterr().err


@pytest.mark.unprotected
def test_cells_without_a_mask(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without masking a CSV file shows the password that is part of the address of files"""
    monkeypatch.setattr("mcr_bench.bench.report.cells.shown", lambda text: text)
    change(home, "UPDATE runs SET artifact_uri = ?", f"ftp://ann:{SECRET}@host/x")
    call("results", "--csv", "runs.csv")
    assert SECRET in Path("runs.csv").read_text()


def _job() -> Job:
    return Job(next(specs(1, 1, 1)), "cpu", Path("none"), {}, Path("none"))
