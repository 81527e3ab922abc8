"""A tracking server that takes for ever over its answers, of which a thread that waits for it sees no end."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.core.waiting import Late
from mcr_bench.bench.errors import Unavailable
from mcr_bench.bench.record.outbox import outbox, server
from mcr_bench.bench.record.outbox.entries import FINISHED, Ending, Opening
from mcr_bench.bench.record.outbox.server import Bounded, patience
from mcr_bench.bench.record.remote_writing import RemoteWriting
from mcr_bench.bench.record.store import SearchReader
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone

OPENING = Opening("k1", "slow", "a run", {}, {"key": "k1", "dataset": "slow"}, False, 1.0, "attempt")


class Dripping:
    """MLflow's client, of which one call never returns until `end` is set."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name, self.end = client, name, threading.Event()

    def __getattr__(self, name: str) -> Any:
        if name == self.name and not self.end.is_set():
            return lambda *_, **__: self.end.wait(60)
        return getattr(self.client, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    monkeypatch.setattr(server, "SECONDS", 0.2)
    for name in ("FLUSH_SECONDS", "PULSE_SECONDS", "RETRY_SECONDS", "POLL_SECONDS", "TOLD_AFTER"):
        monkeypatch.setattr(outbox, name, 0.02)


@pytest.mark.parametrize("name", ["log_batch", "create_run", "set_terminated"])
def test_a_command_waits_no_longer_for_it_than_for_one_that_is_away(name: str, tmp_path: Path) -> None:
    store, said = Record(home=tmp_path / "store", uri=""), list[str]()
    store.client.create_experiment("mcr-bench/slow", (tmp_path / "artifacts").as_uri())
    client = Dripping(store.client, name)
    new = partial(RemoteWriting, "http://host:5000", tmp_path / "home", said.append)
    first, second = new(0.5), new(60)  # the second one has all the time that a busy machine needs
    first.__dict__["_raw"] = second.__dict__["_raw"] = client
    first.start(OPENING)
    first.log(EpochDone("k1", 1, 1, {"loss": 1.0}, 10.0))
    first.end("k1", Ending(FINISHED, 50.0, {"test/accuracy": 0.5}))
    with pytest.raises(Unavailable, match=r"did not answer for 0\.5 s \(no answer in time\)\. What 1 run had to tell"):
        first.settle()
    assert any("does not have everything of 1 run yet. This command waits until it has" in line for line in said)
    first._outbox.stop(30)
    client.end.set()
    first._outbox._shipments[0].lock.release()
    second.deliver_owed()
    (run,) = SearchReader(lambda: store.client).read("slow", ["k1"])
    assert (run.status, run.metrics["test/accuracy"], run.metrics["loss"]) == (FINISHED, 0.5, 1.0)


def test_a_file_has_the_time_that_its_size_needs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5_000_000)
    assert patience("log_artifact", ("run", str(tmp_path / "file"))) == server.UPLOAD_SECONDS + 100
    client = Dripping(None, "search_runs")
    with pytest.raises(Late, match=r"no answer within 0\.2 s"):
        Bounded(client).search_runs(["1"])  # type: ignore[arg-type]
    client.end.set()


def test_answers_in_a_form_that_is_none_of_mlflow_are_waited_for_and_nothing_is_refused() -> None:
    """A gateway that answered `{"status": "maintenance"}` for seconds had finished trainings put aside for ever."""
    from google.protobuf.json_format import ParseError

    for error in (ParseError("no field 'status'"), ConnectionError("the run that it made has no id")):
        assert server.is_outage(error)
        assert not server.is_refusal(error)
    assert server.is_refusal(TypeError("a fault of ours"))
