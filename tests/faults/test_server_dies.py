"""The tracking server dies, hangs or errs: training goes on, and what it lacks is delivered later, once."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from requests import ConnectionError as Lost
from typer.testing import CliRunner

from mcr_bench.bench.core.waiting import Late, within
from mcr_bench.bench.errors import Unavailable
from mcr_bench.bench.record import writer
from mcr_bench.bench.record.database.turns import Turns
from mcr_bench.bench.record.files.places import Places
from mcr_bench.bench.record.outbox import outbox as module
from mcr_bench.bench.record.outbox import server as limits
from mcr_bench.bench.record.outbox import shipment
from mcr_bench.bench.record.outbox.entries import FAILED, FINISHED, KILLED, Ending, Opening
from mcr_bench.bench.record.outbox.outbox import Line, Outbox
from mcr_bench.bench.record.outbox.server import is_refusal, reason_of
from mcr_bench.bench.record.remote_writing import new_attempt
from mcr_bench.bench.record.runs import PREFIX
from mcr_bench.bench.record.store import SearchReader
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.record.writer import Writer
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.servers.fake import ANSWERS, Flaky, bad_server
from mcr_bench.tests.support.servers.real import Server, run

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "the MLflow server dies, hangs, errs or comes back, at the start, in the middle or at the end of runs",
    "said within 10 s; training goes on; what the server lacks is kept on disk and delivered in order, points once; "
    "Ctrl-C is answered at once; after --server-wait the command ends with 1, and the next one delivers the rest",
)
KEYS = count()
NEXT: list["Sender"] = []  # the senders of later commands, whose threads end with their test
BAD = ["refused", "full queue", "silence", "drops", *ANSWERS]


def some(every: Iterable[object], *always: object) -> list[object]:
    """All of these as parameters, of which only a few belong to every test run."""
    return [one if one in always else pytest.param(one, marks=pytest.mark.slow) for one in every]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that takes seconds takes tenths."""
    for name in ("FLUSH_SECONDS", "PULSE_SECONDS", "RETRY_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(module, name, 0.02)
    yield
    while NEXT:
        NEXT.pop().outbox.stop(30)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Record:
    record = Record(home=tmp_path_factory.mktemp("store"), uri="")
    # A server knows a place for files; without one MLflow would put them into the working folder.
    record.client.create_experiment(f"{PREFIX}dying", (record.home / "artifacts").as_uri())
    return record


@dataclass
class Sender:
    """A command's way to a store that fails when `client` is told to; `new` is that of the next command."""

    folder: Path
    client: Flaky
    outbox: Outbox

    @classmethod
    def of(cls, store: Record, folder: Path, wait: float = 30.0) -> "Sender":
        client = Flaky(store.client)
        reader = SearchReader(lambda: client)  # type: ignore[arg-type, return-value]
        places = Places(store.home, store.home)
        writer = Writer(lambda: client, reader.read, reader.latest, Turns(), store.home, places)  # type: ignore[arg-type, return-value]
        probe = partial(client.search_experiments, max_results=1)
        return cls(folder, client, Outbox(folder, Line("The server", writer, probe, is_refusal, reason_of), wait))

    def train(self, key: str, status: str = FINISHED, epochs: int = 3) -> Opening:
        """A whole training."""
        path = self.folder / "work" / f"{key}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"predictions of {key}")
        opened = opening(key)
        self.outbox.start(opened)
        for number in range(1, epochs + 1):
            self.outbox.log(epoch(key, number))
        final = {"test/accuracy": 0.5} if status == FINISHED else {}
        ending = Ending(status, 50.0, final, {"about": "it"}, "ValueError: x", "Traceback")
        self.outbox.end(key, ending, [path] if status == FINISHED else [])
        path.unlink()
        return opened


@pytest.fixture
def sender(store: Record, tmp_path: Path) -> Iterator[Sender]:
    made = Sender.of(store, tmp_path)
    yield made
    made.client.fails = lambda *_: False
    made.outbox.stop(30)


@pytest.fixture
def key() -> str:
    return f"{next(KEYS):020x}"


def opening(key: str, again: bool = False) -> Opening:
    tags = {"key": key, "dataset": "dying", "method": "m"}
    return Opening(key, "dying", "a run", {f"p{n}": str(n) for n in range(3)}, tags, again, 1.0, new_attempt())


def epoch(key: str, number: int) -> EpochDone:
    return EpochDone(key, number, 9, {"loss": 1 / number, "val/accuracy": number / 10}, 10.0 + number)


def check(store: Record, key: str, status: str = FINISHED, epochs: int = 3) -> None:
    """The store holds exactly one run of the key, with every point once and in order."""
    (run,) = list(SearchReader(lambda: store.client).read("dying", [key]))
    assert run.status == status
    for name in ("epoch", "loss", "val/accuracy"):
        points = store.client.get_metric_history(run.run_id, name)
        assert [point.step for point in points] == list(range(1, epochs + 1)), name
    if status == FINISHED:
        assert [(m.step, m.value) for m in store.client.get_metric_history(run.run_id, "test/accuracy")] == [
            (epochs, 0.5)
        ]
        (file,) = store.client.list_artifacts(run.run_id)
        assert Path(store.client.download_artifacts(run.run_id, file.path)).read_text() == f"predictions of {key}"
        assert run.tags["about"] == "it"


@pytest.mark.parametrize("applied", [False, True], ids=["not made", "made without an answer"])
@pytest.mark.parametrize("number", some(range(12), 2, 5, 8))
def test_a_call_fails(store: Record, sender: Sender, key: str, number: int, applied: bool) -> None:
    """One call to the server fails, and the server may have carried it out."""
    seen = count()
    sender.client.fails = lambda _, name, done: (
        name != "search_experiments" and done == applied and next(seen) == number
    )
    sender.train(key)
    assert sender.outbox.settle(lambda: None)
    check(store, key)
    assert list(sender.folder.glob("*.jsonl")) == []


@dataclass
class Losing:
    """A client whose server says that it has taken points, and has not: once for each of these epochs."""

    client: Flaky
    lost: set[int]

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name) if name != "log_batch" else self.log_batch

    def log_batch(self, run_id: str, **given: Any) -> None:
        if steps := {one.step for one in given.get("metrics", ())} & self.lost:
            self.lost -= steps
            given["metrics"] = [one for one in given["metrics"] if one.step not in steps]
        self.client.log_batch(run_id, **given)


@pytest.mark.parametrize("lost", [{2}, {3}, {1, 2, 3}], ids=str)
def test_the_server_has_lost_what_it_has_taken(store: Record, sender: Sender, key: str, lost: set[int]) -> None:
    """It began anew with an older database, or something else answered in its place: holes are filled, points once."""
    client = Losing(sender.client, {*lost})
    sender.outbox.line.courier.client = lambda: client  # type: ignore[attr-defined]
    sender.train(key)
    assert sender.outbox.settle(lambda: None)
    assert not client.lost
    check_points(store, key)


def check_points(store: Record, key: str) -> None:
    """The store has every point of three epochs once, in whatever order it got them."""
    (run,) = list(SearchReader(lambda: store.client).read("dying", [key]))
    assert run.status == FINISHED
    for name in ("epoch", "loss", "val/accuracy"):
        assert sorted(point.step for point in store.client.get_metric_history(run.run_id, name)) == [1, 2, 3], name


@pytest.mark.parametrize("status", [FINISHED, FAILED, KILLED])
def test_the_server_is_away_for_whole_trainings(store: Record, sender: Sender, key: str, status: str) -> None:
    """The server is away while runs begin and end, and comes back before the command ends."""
    sender.client.fails = lambda *_: True
    sender.train(key, status)
    wait_for(lambda: bool(sender.outbox.trouble))
    assert "does not answer: connection refused" in sender.outbox.news()[0]
    assert sender.outbox.news() == []
    sender.client.fails = lambda *_: False
    assert sender.outbox.settle(lambda: None)
    wait_for(lambda: any("answers again" in line for line in sender.outbox.news()))
    check(store, key, status)


def test_the_server_is_away_for_good(store: Record, tmp_path: Path, key: str) -> None:
    """The server does not come back: the command gives up, and the next one delivers what is owed."""
    first = Sender.of(store, tmp_path, wait=0.2)
    first.client.fails = lambda *_: True
    first.train(key)
    assert not first.outbox.settle(lambda: None)
    assert first.outbox.owed == 1
    second = next_command(store, first)
    assert second.outbox.collect() == 1
    assert second.outbox.settle(lambda: None)
    check(store, key)


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_the_command_is_killed_meanwhile(store: Record, tmp_path: Path, key: str, epochs: int) -> None:
    """The command is killed during an outage; its run goes on with the next one."""
    first = Sender.of(store, tmp_path)
    first.client.fails = lambda *_: True
    first.outbox.start(opening(key))
    for number in range(1, epochs + 1):
        first.outbox.log(epoch(key, number))
    second = next_command(store, first)
    assert second.outbox.collect() == 1
    assert second.outbox.settle(lambda: None)
    check(store, key, KILLED, epochs)
    second.train(key, epochs=5)
    assert second.outbox.settle(lambda: None)
    check(store, key, epochs=5)


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_kill_in_the_middle_of_a_line(store: Record, tmp_path: Path, key: str, cut: int) -> None:
    """The last line of a journal is cut off, as by a kill while it is written."""
    first = Sender.of(store, tmp_path)
    first.client.fails = lambda *_: True
    first.train(key)
    second = next_command(store, first)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    assert second.outbox.collect() == 1
    assert second.outbox.settle(lambda: None)
    check(store, key, FINISHED if cut == 1 else KILLED)  # as if it had not ended, unless all but a line break is there


@pytest.mark.parametrize("what", ["*.jsonl", "*/*.parquet"], ids=["journal", "predictions"])
def test_what_is_kept_is_damaged(store: Record, tmp_path: Path, key: str, what: str) -> None:
    """A bit of what is kept is flipped on disk: it is set aside and named, and the run counts as not trained."""
    first = Sender.of(store, tmp_path)
    first.client.fails = lambda *_: True
    first.train(key)
    second = next_command(store, first)
    (path,) = tmp_path.glob(what)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    assert second.outbox.collect() == 0
    assert "is damaged" in second.outbox.news()[0]
    assert SearchReader(lambda: store.client).read("dying", [key]) == []
    assert len(list(tmp_path.glob("*.aside"))) == 1


def test_what_another_command_is_telling_is_left_to_it(store: Record, sender: Sender, key: str) -> None:
    """Another command with the same home is at work: its journals are not touched."""
    sender.client.fails = lambda *_: True
    sender.train(key)
    other = Sender.of(store, sender.folder)
    assert other.outbox.collect() == 0
    sender.client.fails = lambda *_: False
    assert sender.outbox.settle(lambda: None)
    check(store, key)


def test_another_command_has_finished_the_run(store: Record, sender: Sender, key: str) -> None:
    """During the outage another command finishes the same run: nothing is written to it."""
    sender.client.fails = lambda *_: True
    sender.train(key, epochs=2)
    other = Sender.of(store, sender.folder / "other")
    NEXT.append(other)
    other.train(key)
    assert other.outbox.settle(lambda: None)
    sender.client.fails = lambda *_: False
    assert sender.outbox.settle(lambda: None)
    check(store, key)


def test_a_forced_run_is_delivered_once(store: Record, sender: Sender, key: str) -> None:
    """With --force, the answer to `finished` is lost: the run is not recorded a third time."""
    sender.train(key)
    assert sender.outbox.settle(lambda: None)
    lost = count()
    sender.client.fails = lambda _, name, done: name == "set_terminated" and done and next(lost) == 0
    sender.outbox.start(opening(key, again=True))
    sender.outbox.log(epoch(key, 1))
    sender.outbox.end(key, Ending(FINISHED, 60.0))
    assert sender.outbox.settle(lambda: None)
    runs = SearchReader(lambda: store.client).read("dying", [key])
    assert [run.status for run in runs] == [FINISHED, FINISHED]


def test_a_run_that_the_server_refuses_holds_up_no_other(store: Record, sender: Sender, key: str) -> None:
    """The server is there and refuses one run: it is named, and the others are delivered."""
    refused, good = f"{key}a", f"{key}b"
    with pytest.MonkeyPatch.context() as patch:
        real = writer.metric
        patch.setattr(writer, "metric", lambda name, *rest: real("x" * 400 if rest[1] == 60.0 else name, *rest))
        sender.outbox.start(opening(refused))
        sender.outbox.end(refused, Ending(FINISHED, 60.0, {"loss": 1.0}))
        sender.train(good)
        assert sender.outbox.settle(lambda: None)
    assert list(sender.outbox.refused) == [refused]
    check(store, good)


def test_the_disk_of_the_outbox_is_full(store: Record, sender: Sender, key: str) -> None:
    """The disk takes no more epochs: they are told from memory, and that is said once."""
    sender.outbox.start(opening(key))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipment.journal, "append", full)
        for number in (1, 2):
            sender.outbox.log(epoch(key, number))
    assert [line for line in sender.outbox.news() if "No space left" in line] != []
    sender.outbox.end(key, Ending(KILLED, 50.0))
    assert sender.outbox.settle(lambda: None)
    check(store, key, KILLED, 2)


@pytest.mark.parametrize("mode", some(BAD, "refused", "silence", "error 500"))
def test_a_reading_command(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`results` asks a server that is bad in one of many ways: one sentence, exit code 1."""
    monkeypatch.setattr(limits, "OPENING_SECONDS", {"http": 1.0, "database": 1.0})
    monkeypatch.setattr("mcr_bench.bench.record.remote_writing.OPENING_SECONDS", {"http": 1.0, "database": 1.0})
    monkeypatch.setenv("MCR_BENCH_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    began = time.monotonic()
    with bad_server(mode) as uri:
        done = CliRunner().invoke(app, ["results", "--tracking-uri", uri])
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: the record at ")
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - began < 60


def test_the_first_seconds_are_few() -> None:
    """The times within which a server has to answer, as the program has them."""
    assert limits.OPENING_SECONDS["http"] < 10
    assert limits.patience("search_runs") < 10
    assert module.PULSE_SECONDS + limits.PROBE_SECONDS < 10


def test_a_call_that_never_returns() -> None:
    """A library waits for ever: the program does not."""
    with pytest.raises(Late):
        within(0.05, partial(threading.Event().wait, 60))


LONG = ["run", "--methods", "joint,ogm", "--dataset", "synthetic", "--seeds", "3", "--set", "epochs=6", "--jobs", "2"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server") / "store").start()
    yield made
    made.kill()


def six_finished_once(server: Server) -> None:
    """Every run is finished once, no point is double, every file is there."""
    with sqlite3.connect(server.folder / "mlflow.db") as base:
        assert base.execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall() == [("FINISHED", 6)]
        doubles = "SELECT run_uuid, key, step FROM metrics GROUP BY 1, 2, 3 HAVING count(*) > 1"
        assert base.execute(doubles).fetchall() == []
        assert base.execute("SELECT count(*) FROM metrics WHERE key = 'epoch'").fetchone() == (36,)
    base.close()
    assert len(list((server.folder / "artifacts").rglob("predictions.parquet"))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["to train", "[1/6]", "[4/6]", "[6/6]"])
def test_a_real_server_is_killed(moment: str, tmp_path: Path) -> None:
    """MLflow's own server is killed for good at some moment of a comparison; the next command has one again."""
    server = Server(tmp_path / "store").start().wait()
    killed: list[float] = []
    steps = {moment: lambda _: (server.kill(), killed.append(time.monotonic()))}
    told = run(tmp_path / "home", server.uri, [*LONG, "--server-wait", "3"], steps)
    assert told.code == 1
    assert "Traceback" not in told.text
    if moment != "[6/6]":  # at the very end the last sentence says it all
        assert told.when("does not answer") - killed[0] < 10
    again = run(tmp_path / "home", server.start().wait().uri, LONG, {})
    server.kill()
    assert again.code == 0, again.text
    assert "0 to train" in again.text or moment == "to train"
    six_finished_once(server)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["[1/6]", "[6/6]"])
def test_a_real_server_hangs_for_a_while(moment: str, tmp_path: Path) -> None:
    """MLflow's own server hangs for 20 seconds."""
    server = Server(tmp_path / "store").start().wait()
    hangs: list[float] = []

    def hang(_: object) -> None:
        server.signal(signal.SIGSTOP)
        hangs.append(time.monotonic())
        threading.Timer(20, server.signal, [signal.SIGCONT]).start()

    told = run(tmp_path / "home", server.uri, LONG, {moment: hang})
    server.kill()
    assert told.code == 0, told.text
    if moment == "[1/6]":
        assert told.when("does not answer") - hangs[0] < 10
    six_finished_once(server)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 8])
def test_ctrl_c_while_a_real_server_hangs(seconds: float, tmp_path: Path) -> None:
    """Ctrl-C is pressed while MLflow's own server hangs, before and after that was said."""
    server = Server(tmp_path / "store").start().wait()
    pressed: list[float] = []

    def press(process: "object") -> None:
        server.signal(signal.SIGSTOP)
        time.sleep(seconds)
        pressed.append(time.monotonic())
        process.send_signal(signal.SIGINT)  # type: ignore[attr-defined]

    told = run(tmp_path / "home", server.uri, LONG, {"[1/6]": press})
    assert told.code == 130
    assert told.when("Stopped.") - pressed[0] < 5  # 2 on a machine that has time
    server.signal(signal.SIGCONT)
    again = run(tmp_path / "home", server.uri, LONG, {})
    server.kill()
    assert again.code == 0, again.text
    six_finished_once(server)


@pytest.mark.unprotected
def test_without_an_outbox(store: Record, key: str) -> None:
    """Written directly, a finished training whose server is away stays RUNNING without a value"""
    client = Flaky(store.client)
    reader = SearchReader(lambda: store.client)
    places = Places(store.home, store.home)
    writer = Writer(lambda: client, reader.read, reader.latest, Turns(), store.home, places)  # type: ignore[arg-type, return-value]
    writer.start(opening(key))
    client.fails = lambda *_: True
    writer.log(epoch(key, 1))
    with pytest.raises(Lost):
        writer.end(key, Ending(FINISHED, 50.0, {"test/accuracy": 0.5}))
    (run,) = SearchReader(lambda: store.client).read("dying", [key])
    assert (run.status, run.metrics) == ("RUNNING", {})


def next_command(store: Record, before: Sender) -> Sender:
    """The outbox of a command that starts when another one has been killed, whose locks are free."""
    before.outbox.stop(30)
    for one in before.outbox._shipments:
        one.lock.release()
    after = Sender.of(store, before.folder)
    NEXT.append(after)
    return after


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_unavailable_is_no_wrong_usage() -> None:
    """A command that ends because a server is missing can be told from one that was used wrongly."""
    assert Unavailable.exit_code == 1
