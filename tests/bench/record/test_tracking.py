"""The record: what is written is read back, a run is finished only when all of it is logged, resumption logs once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mcr_bench.bench.errors import Unavailable, UserError
from mcr_bench.bench.record import writer
from mcr_bench.bench.record.outbox.server import IMPATIENT
from mcr_bench.bench.record.row import Costs
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone
from mcr_bench.tests.support.records.run_rows import run_tags

NUMBERS = count()


@dataclass(frozen=True)
class Spec:
    """As much of a RunSpec as the record uses."""

    key: str
    method: str = "some-method"
    label: str = "some-method [x=1]"
    dataset: str = "tracking"
    fold: int = 1
    seed: int = 3

    def params(self) -> dict[str, str]:
        return {f"p{i}": str(i) for i in range(130)} | {"./mine.py.x": "1"}

    def tags(self) -> dict[str, str]:
        own = {name: getattr(self, name) for name in ("key", "label", "dataset", "fold")}
        return run_tags(self.method, self.seed, preset="small", overrides="", **own)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Record(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def spec() -> Spec:
    return Spec(f"{next(NUMBERS):020x}")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.parquet"
    pd.DataFrame({"sample": ["a", "b"], "logit": [0.5, -1.0]}).to_parquet(path)
    return path


def epoch(spec: Spec, number: int, when: float | None = None, **metrics: float) -> EpochDone:
    return EpochDone(spec.key, number, 9, metrics or {"val/accuracy": number / 10}, when or 1000.0 + number)


def history(record: Record, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in record.client.get_metric_history(run_id, name)]


def test_a_finished_run_reads_back(record: Record, spec: Spec, predictions: Path) -> None:
    run_id = record.start(spec)
    assert run_id is not None
    record.log_epoch(spec, epoch(spec, 1))
    final = {
        "test/accuracy": 0.75,
        "test/modality/audio/accuracy": 0.5,
        "cost/seconds": 12.0,
        "cost/seconds_per_step": 0.1,
    }
    record.finish(spec, final, [predictions], {"version/torch": "x"})
    row = record.finished([spec.key])[spec.key]
    expected = {"key": spec.key, "method": "some-method", "dataset": "tracking", "protocol": "official", "fold": 1}
    expected |= {
        "seed": 3,
        "preset": "small",
        "status": "finished",
        "metric": "accuracy",
        "value": 0.75,
        "run_id": run_id,
    }
    expected |= {"unimodal": {"audio": 0.5}, "label": "some-method [x=1]", "costs": Costs(12.0, 0.1)}
    assert {k: getattr(row, k) for k in expected} == expected
    assert row.metrics["val/accuracy"] == 0.1
    assert row.versions["torch"] == "x"
    assert row.settings["p129"] == 129
    assert row.settings["mine.py.x"] == 1
    assert record.predictions(run_id)["logit"].tolist() == [0.5, -1.0]
    assert spec.key in {r.key for r in record.rows("tracking", "some-method")}
    assert record.rows("tracking", "another-method") == record.rows("another-dataset") == []


def test_finished_tells_only_the_finished_keys_asked_for(record: Record, spec: Spec) -> None:
    record.start(spec)
    assert record.finished([spec.key]) == {}
    record.finish(spec, {})
    assert set(record.finished([spec.key, "ff"])) == {spec.key}
    assert record.finished(["ff"]) == {}


def test_a_finished_key_is_not_started_again_unless_asked(record: Record, spec: Spec) -> None:
    first = record.start(spec)
    record.finish(spec, {"test/accuracy": 0.1})
    assert record.start(spec) is None
    second = record.start(spec, again=True)
    assert second not in (None, first)
    assert record.finished([spec.key])[spec.key].run_id == first
    record.finish(spec, {"test/accuracy": 0.2})
    assert record.finished([spec.key])[spec.key].value == 0.2


def test_a_resumed_run_goes_on_in_the_same_mlflow_run_and_logs_each_epoch_once(record: Record, spec: Spec) -> None:
    run_id = record.start(spec)
    for number in (1, 2):
        record.log_epoch(spec, epoch(spec, number))
    record.kill(spec)
    assert [row.status for row in record.rows("tracking") if row.key == spec.key] == ["killed"]
    again = Record(home=record.home)
    assert again.start(spec) == run_id
    for number in (1, 2, 3):  # epoch 2 was not in the checkpoint: trained again, at another time
        again.log_epoch(spec, epoch(spec, number, when=5000.0 if number > 1 else None))
    again.finish(spec, {})
    assert history(record, str(run_id), "val/accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_run_whose_command_was_killed_without_a_word_is_resumed(record: Record, spec: Spec) -> None:
    run_id = record.start(spec)
    assert Record(home=record.home).start(spec) == run_id


def test_a_half_written_epoch_is_written_again(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    many = {f"m{i}": float(i) for i in range(1500)}
    calls, log_batch = [], record.client.log_batch

    def breaks_at_second(*args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ConnectionError
        log_batch(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "add_points", lambda *_: False)  # as where the database is of an unknown version
        patch.setattr(record.client, "log_batch", breaks_at_second)
        record.log_epoch(spec, epoch(spec, 1, **many))
        with pytest.raises(ConnectionError):
            record.kill(spec)
    assert "m999" in record.client.get_run(run_id).data.metrics
    assert "m1000" not in record.client.get_run(run_id).data.metrics
    record.start(spec)
    record.log_epoch(spec, epoch(spec, 1, **many))
    record.finish(spec, {})
    assert record.finished([spec.key])[spec.key].metrics == many | {"epoch": 1.0}
    assert history(record, run_id, "m0") == [(1, 0.0)]


def test_a_kill_between_the_final_values_and_the_word_finished_logs_them_once(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    record.log_epoch(spec, epoch(spec, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record.client, "set_terminated", lambda *_: sys.exit("killed"))
        with pytest.raises(SystemExit):
            record.finish(spec, {"test/accuracy": 0.5, "cost/seconds": 3.0})
    again = Record(home=record.home)
    again.start(spec)
    again.finish(spec, {"test/accuracy": 0.5, "cost/seconds": 3.5, "test/loss": 1.0})
    expected = {"test/accuracy": 0.5, "cost/seconds": 3.0, "test/loss": 1.0, "val/accuracy": 0.1, "epoch": 1.0}
    assert record.finished([spec.key])[spec.key].metrics == expected
    assert history(record, run_id, "cost/seconds") == [(1, 3.0)]
    assert history(record, run_id, "test/loss") == [(1, 1.0)]


def test_a_kill_between_the_final_values_and_the_tags_logs_them_once(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    record.log_epoch(spec, epoch(spec, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record.client, "log_batch", lambda *_, **__: sys.exit("killed"))
        with pytest.raises(SystemExit):
            record.finish(spec, {"cost/seconds": 3.0}, tags={"a": "b"})
    again = Record(home=record.home)
    again.start(spec)
    again.finish(spec, {"cost/seconds": 3.5}, tags={"a": "c"})
    assert history(record, run_id, "cost/seconds") == [(1, 3.0)]
    assert record.client.get_run(run_id).data.tags["a"] == "c"


def test_a_failure_between_two_parts_of_the_epochs_loses_and_doubles_none(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    epochs = [epoch(spec, number, **{f"m{i}": float(number) for i in range(29)}) for number in range(1, 51)]
    calls, add_points = [], writer.add_points

    def breaks_at_second(*args: Any) -> bool:
        calls.append(len(args[2]))
        if len(calls) == 2:
            raise ConnectionError
        return add_points(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcr_bench.bench.record.writing.FLUSH_SECONDS", 3600.0)
        patch.setattr(writer, "add_points", breaks_at_second)
        patch.setattr(writer, "AT_ONCE", 1000)
        for one in epochs:
            record.log_epoch(spec, one)
        with pytest.raises(ConnectionError):
            record.kill(spec)
    assert calls == [990, 510]
    assert record.start(spec) == run_id
    for one in epochs:  # those after the last one on record are trained, and logged, again
        record.log_epoch(spec, one)
    record.finish(spec, {})
    assert history(record, run_id, "m0") == [(number, float(number)) for number in range(1, 51)]


def test_a_final_value_of_an_earlier_epoch_does_not_hide_that_of_a_later_one(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    record.log_epoch(spec, epoch(spec, 1, loss=0.5))
    record.kill(spec)
    record.start(spec)
    record.log_epoch(spec, epoch(spec, 2, other=0.5))
    record.finish(spec, {"loss": 0.25})
    assert history(record, run_id, "loss") == [(1, 0.5), (2, 0.25)]


def test_a_missing_artifact_leaves_the_run_unfinished(record: Record, spec: Spec, tmp_path: Path) -> None:
    record.start(spec)
    with pytest.raises(OSError, match="nothing"):
        record.finish(spec, {"test/accuracy": 0.5}, [tmp_path / "nothing.parquet"])
    assert record.finished([spec.key]) == {}


def test_finished_is_the_last_thing_written(record: Record, spec: Spec, predictions: Path) -> None:
    run_id = record.start(spec)
    seen, inner = [], record.client

    class Spy:
        def __getattr__(self, name: str) -> object:
            seen.append((name, any(record.home.rglob(f"{run_id}/**/{predictions.name}"))))
            return getattr(inner, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "client", Spy())
        record.finish(spec, {"test/accuracy": 1.0}, [predictions], {"a": "b"})
    assert seen == [("log_batch", False), ("set_terminated", True)]


def test_a_failed_run_says_why_and_can_be_tried_again(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    record.fail(spec, "Traceback ...\nValueError: no such thing\n")
    row = next(row for row in record.rows() if row.key == spec.key)
    assert (row.status, row.failure) == ("failed", "ValueError: no such thing")
    assert "Traceback" in Path(record.client.download_artifacts(run_id, "failure.txt")).read_text()
    assert record.start(spec) == run_id
    record.finish(spec, {})
    assert record.finished([spec.key])[spec.key].failure == ""


def test_metrics_are_written_in_few_calls_of_whole_epochs(record: Record, spec: Spec) -> None:
    record.start(spec)
    sizes, log_batch = [], record.client.log_batch

    def counting(run_id: str, metrics: list[object]) -> None:
        sizes.append(len(metrics))
        log_batch(run_id, metrics=metrics)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "add_points", lambda *_: False)
        patch.setattr(record.client, "log_batch", counting)
        patch.setattr("mcr_bench.bench.record.writing.FLUSH_SECONDS", 3600.0)  # the record is older than this test
        for number in range(1, 51):
            record.log_epoch(spec, epoch(spec, number, **{f"m{i}": 0.5 for i in range(29)}))
        record.finish(spec, {})
    assert sizes == [990, 510]  # 30 each: an epoch split by a kill would be trained, and so logged, again


def test_a_local_record_takes_all_buffered_epochs_in_one_transaction(record: Record, spec: Spec) -> None:
    """Each waits for the disk."""
    run_id, sizes, add_points = str(record.start(spec)), [], writer.add_points
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "add_points", lambda *args: (sizes.append(len(args[2])), add_points(*args))[1])
        patch.setattr("mcr_bench.bench.record.writing.FLUSH_SECONDS", 3600.0)
        for number in range(1, 51):
            record.log_epoch(spec, epoch(spec, number, **{f"m{i}": float(number) for i in range(29)}))
        record.kill(spec)
    assert sizes == [1500]
    assert history(record, run_id, "m28") == [(number, float(number)) for number in range(1, 51)]


def test_buffered_epochs_are_written_after_some_seconds(
    record: Record, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = str(record.start(spec))
    record.log_epoch(spec, epoch(spec, 1))
    assert history(record, run_id, "epoch") == []
    later = time.monotonic() + 11
    monkeypatch.setattr("mcr_bench.bench.record.writing.time.monotonic", lambda: later)
    record.flush_if_due()
    assert history(record, run_id, "epoch") == [(1, 1.0)]


def test_a_run_without_predictions_is_named(record: Record, spec: Spec) -> None:
    run_id = str(record.start(spec))
    with pytest.raises(UserError, match=run_id):
        record.predictions(run_id)


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be read as one" * 10)
    with pytest.raises(UserError, match=r"text\.db"):
        Record(f"sqlite:///{tmp_path / 'text.db'}", tmp_path).rows()


def test_a_server_that_does_not_answer_is_named_without_waiting_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = []
    for name in IMPATIENT:
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    import mlflow.tracking

    def refuse(*_: object, **__: object) -> None:
        patience.append(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
        raise ConnectionError("connection refused")

    monkeypatch.setattr(mlflow.tracking.MlflowClient, "search_experiments", refuse)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9.*refused.*Is the server running"):
        Record("http://127.0.0.1:9", tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    with pytest.raises(Unavailable):
        Record("http://127.0.0.1:9", tmp_path)
    assert patience == [IMPATIENT["MLFLOW_HTTP_REQUEST_MAX_RETRIES"], "3"]


def test_a_command_killed_while_it_created_the_record_leaves_no_broken_one(tmp_path: Path, spec: Spec) -> None:
    for name in ("mlflow.db.new", "mlflow.db.new-journal"):
        (tmp_path / name).write_bytes(b"half" * 1000)
    record = Record(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    assert record.start(spec)
    assert list(tmp_path.glob("*.new*")) == []


WRITER = """
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from spec_for_writers import Spec, EpochDone, Record
record = Record(home=Path(sys.argv[2]))
for i in range(5):
    spec = Spec(sys.argv[3] * 10 + str(i), dataset="two-writers")
    record.start(spec)
    for n in range(1, 4):
        record.log_epoch(spec, EpochDone(spec.key, n, 3, {"loss": 0.5}, 100.0 + n))
        record._writing._flushed = 0.0
        record.flush_if_due()
    record.finish(spec, {"test/accuracy": 0.5})
"""


def test_two_commands_create_and_write_one_record_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = Path(__file__).read_text()
    (tmp_path / "spec_for_writers.py").write_text(own)
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(tmp_path / "home")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    writers = [subprocess.Popen([*command, letter], **pipes) for letter in "ab"]
    said = [writer.communicate(timeout=600)[0] for writer in writers]
    assert said == ["", ""]  # nor do MLflow and its migrations chat
    rows = Record(home=tmp_path / "home").rows("two-writers")
    assert sorted(row.key for row in rows) == sorted(letter * 10 + str(i) for letter in "ab" for i in range(5))
    assert {(row.status, row.metrics["epoch"]) for row in rows} == {("finished", 3.0)}
    assert len(list((tmp_path / "home").glob("mlflow.db"))) == 1


def test_mlflow_is_imported_only_when_a_record_is_made_or_written(
    record: Record, spec: Spec, predictions: Path
) -> None:
    run_id = record.start(spec)
    record.finish(spec, {}, [predictions])
    code = "import sys, mcr_bench.bench.record.tracking, mcr_bench.bench.executors.local\nfrom pathlib import Path\n"
    code += "print({'mlflow', 'torch', 'pandas'} & {*sys.modules})\n"
    code += "record = mcr_bench.bench.record.tracking.Record(home=Path(sys.argv[1]))\n"
    code += "print([row.key for row in record.rows() if row.run_id == sys.argv[2]])\n"
    code += "print(len(record.predictions(sys.argv[2])), 'mlflow' in sys.modules)"
    command = [sys.executable, "-c", code, str(record.home), str(run_id)]
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MLFLOW_TRACKING_URI": ""})
    assert said.stdout == f"set()\n['{spec.key}']\n2 False\n"


def test_a_folder_that_cannot_be_made_and_a_name_with_a_quote(tmp_path: Path, spec: Spec) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="MCR_BENCH_HOME"):
        Record(home=tmp_path / "file" / "record").start(spec)
    record = Record(home=tmp_path / "record")
    record.start(spec)
    assert record.rows(method="it's") == []
    assert [row.method for row in record.rows(method=spec.method)] == [spec.method]
