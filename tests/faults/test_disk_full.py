"""A disk that is full while runs are trained, recorded, and shown."""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from mcr_bench.bench.core.faults import full_disk as module
from mcr_bench.bench.core.faults.full_disk import FullDisk, full_disk, full_disk_told
from mcr_bench.bench.core.files import PARTIAL, write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone, Job, RunDone
from mcr_bench.bench.training import checkpoints
from mcr_bench.bench.training.checkpoints import EARLIER, NAME
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.cli import app
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.records import recorded
from mcr_bench.tests.support.runs import kill_comparison as commands
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.full_disks import fill, no_page_more, tmpfs
from mcr_bench.tests.support.runs.hooked import Result, array_file, job_of, runs_of, same, trained
from mcr_bench.tests.support.runs.pretended_training import begun, epochs, jobs_of, row

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "the disk is full, the user's share of it is used up, or a file has reached the largest size allowed: while a run "
    "writes its checkpoint, weights, predictions or log, while the record is written, while tables and pages are",
    "one sentence; the run fails, or the command ends with exit code 1; no half-written file; once there is space the "
    "same command goes on from the last checkpoint to the same bits",
)
EPOCHS = 40
SMALL = ["--methods", "joint", "--seeds", "2", "--set", "epochs=60", "--set", "patience=0"]
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Result]:
    """A run, and what it gives where there is space."""
    folder = tmp_path_factory.mktemp("calm")
    (spec,) = runs_of("joint", array_file(folder / "data.npz"))
    return spec, trained(spec, folder)


@pytest.mark.parametrize(
    ("name", "room", "number"),
    [
        ("checkpoint.pt", 0, errno.ENOSPC),
        ("checkpoint.pt", 64, errno.EDQUOT),
        ("checkpoint.pt", 5000, errno.EFBIG),
        ("checkpoint.pt", 20_000, errno.ENOSPC),
        ("predictions.parquet", 0, errno.EDQUOT),
        ("predictions.parquet", 3000, errno.ENOSPC),
        (".pt", 0, errno.EFBIG),
        (".pt", 3000, errno.ENOSPC),
    ],
)
def test_a_run_fails_with_a_sentence_and_goes_on_to_the_same_bits(
    calm: tuple[Any, Result], tmp_path: Path, name: str, room: int, number: int
) -> None:
    spec, undisturbed = calm
    job = job_of(spec, tmp_path)
    told = []

    def emit(event: object) -> None:
        if isinstance(event, EpochDone) and event.epoch == 2 and not told:
            fill(patch, name, room, number)
            told.append(event)

    with pytest.MonkeyPatch.context() as patch, pytest.raises((OSError, RuntimeError)) as raised:
        fit_run(job, emit, checkpoint_seconds=0)
    failed = failure_of(job, raised.value)
    assert failed.reason.startswith(f"the disk is full: '{tmp_path}/")
    assert os.strerror(number) in failed.reason
    assert len(failed.reason.splitlines()) == 1
    assert not list(tmp_path.rglob(f"*{PARTIAL}"))
    kept = next(path for name in (NAME, EARLIER) if (path := job.folder / name).exists())
    assert torch.load(kept, weights_only=True)["epoch"] >= 1
    assert same(trained(spec, tmp_path), undisturbed)


def test_a_torch_error_about_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, "weights.pt", 3000)
        with pytest.raises(FullDisk, match=r"weights\.pt' could not be"), full_disk_told():
            checkpoints.save_weights(tmp_path / "weights.pt", {"a": torch.zeros(4000)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("moment", ["start", "epoch", "end"])
def test_a_database_that_cannot_grow_ends_the_command_and_loses_nothing(
    fake: ModuleType, record: Record, trace: Path, moment: str
) -> None:
    spec = fake.Spec(f"database {moment}", trace)
    with pytest.raises(FullDisk, match="the record could not be written"), full_disk_told():
        _train_without_space(record, spec, moment)
    with jobs_of(record, spec) as jobs:
        job = begun(jobs)
        for epoch in range(1, EPOCHS):
            jobs.take(job, _epoch(spec, epoch))
        jobs.take(job, _done(job))
    assert jobs.outcome.finished == [spec]
    assert epochs(record, spec) == list(range(1, EPOCHS))


def test_an_artifact_that_cannot_be_copied_fails_the_run_and_is_copied_later(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    spec = fake.Spec("artifact", trace)
    with jobs_of(record, spec) as jobs, pytest.MonkeyPatch.context() as patch:
        job = begun(jobs)
        done = _done(job)
        fill(patch, "predictions.parquet")
        jobs.take(job, done)
    assert "the disk is full" in jobs.outcome.failed[0].reason
    assert row(record, spec).status == "failed"
    with jobs_of(record, spec) as jobs:
        jobs.take(begun(jobs), done)
    assert jobs.outcome.finished == [spec]


def test_a_traceback_that_cannot_be_kept_leaves_a_run_failed_not_running(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    spec = fake.Spec("traceback", trace)
    with jobs_of(record, spec) as jobs, pytest.MonkeyPatch.context() as patch:
        job = begun(jobs)
        fill(patch, "failure.txt")
        jobs.fail(job, "its worker is gone")
    assert (row(record, spec).status, row(record, spec).failure) == ("failed", "its worker is gone")


def test_a_cache_that_cannot_be_written_is_done_without(fake: ModuleType, record: Record, trace: Path) -> None:
    spec = fake.Spec("cache", trace)
    (record.home / "cache").mkdir(exist_ok=True)
    (record.home / "cache" / "samples.db").unlink(missing_ok=True)
    (record.home / "cache" / "samples.db").symlink_to("/dev/full")
    with jobs_of(record, spec) as jobs:
        job = begun(jobs)
        jobs.take(job, _done(job))
    (record.home / "cache" / "samples.db").unlink()
    assert jobs.outcome.finished == [spec]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a record with runs."""
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MCR_BENCH_HOME", str(folder / "home"))
        recorded.pretend(Record(home=folder / "home"), recorded.save(folder / "data.npz"), "joint", seeds=[0, 1])
        yield folder / "home"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["results", "--csv", "{home}/runs.csv"], "runs.csv"),
        (["tables"], ".md"),
        (["tables"], ".written.json"),
        (["report"], "report.html"),
    ],
)
def test_a_command_that_cannot_write_says_so_and_leaves_no_half_file(
    shown: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], name: str
) -> None:
    before = sorted(shown.rglob(f"*{name}"))
    fill(monkeypatch, name, 10)
    done = CliRunner().invoke(app, [part.format(home=shown) for part in command])
    assert done.exit_code == FullDisk.exit_code
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(shown.rglob(f"*{name}")) == before
    assert not list(shown.rglob(f"*{PARTIAL}"))


def test_a_device_without_space_is_told_as_a_full_disk(shown: Path) -> None:
    done = CliRunner().invoke(app, ["results", "--csv", "/dev/full"], env={"MCR_BENCH_HOME": str(shown)})
    assert done.exit_code == FullDisk.exit_code
    assert done.stderr.startswith("error: the disk is full: '/dev/full' could not be written (No space left on device)")


def test_a_record_without_space_for_its_index_of_changes_is_told_as_a_full_disk(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls that a disk I/O error, and MLflow and the record wrap it."""
    with tmpfs(tmp_path / "small", "4m"):
        home = tmp_path / "small" / "home"
        shutil.copytree(shown, home, ignore=shutil.ignore_patterns("*-shm"))  # which SQLite has to make then
        with (home / "filling").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))
        monkeypatch.setenv("MCR_BENCH_HOME", str(home))
        done = CliRunner().invoke(app, ["merge", str(shown)])
    assert done.exit_code == FullDisk.exit_code
    assert "error: the disk is full: the record could not be written (disk I/O error)" in done.stderr


def test_of_an_error_for_the_user_only_its_cause_counts() -> None:
    """Here a full disk was met, and something else is said of it or of another thing."""
    with pytest.raises(FullDisk, match="the disk is full: '/a/b' could not be"), full_disk_told():
        _raise(UserError("the report cannot be written"), True)
    with pytest.raises(UserError, match="unknown metric"), full_disk_told():
        _raise(UserError("unknown metric"), False)


def test_a_log_that_cannot_be_written_fails_the_run_at_worst(fake: ModuleType, record: Record, trace: Path) -> None:
    spec = fake.Spec("log", trace, "raise")
    log = record.home / "work" / spec.key / "log.txt"
    log.parent.mkdir(parents=True)
    log.symlink_to("/dev/full")
    (failure,) = pretended_training.run([spec], record).failed
    assert failure.reason.startswith(("ValueError: bad luck", "the disk is full"))  # as the output is buffered or not


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1500k", "2100k", "3m"])
def test_a_small_disk_stops_a_comparison_which_then_ends_as_if_nothing_had_been(tmp_path: Path, size: str) -> None:
    undisturbed = commands.finish(tmp_path / "calm", SMALL)
    with tmpfs(tmp_path / "small", size) as resize:
        failed = _run(tmp_path / "small")
        assert failed.returncode == 1
        assert "the disk is full" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert not list((tmp_path / "small").rglob(f"*{PARTIAL}"))
        resize("60m")
        again = commands.finish(tmp_path / "small", SMALL)
        assert commands.tables(again) == commands.tables(undisturbed)
        assert not commands.left_over(tmp_path / "small")


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [100, 700])
def test_a_largest_size_of_files_does_as_a_full_disk_does(tmp_path: Path, blocks: int) -> None:
    """blocks: of 1024 bytes, which bash takes as the unit of ulimit."""
    failed = _run(tmp_path / "home", f"ulimit -f {blocks};")
    assert failed.returncode in (1, 2)
    assert "Traceback" not in failed.stderr
    assert commands.finish(tmp_path / "home", SMALL)["failed"] == []


@pytest.mark.unprotected
def test_files_written_in_place(calm: tuple[Any, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in place, a checkpoint is lost when the disk is full: half a file remains, and the run starts over."""
    spec, _ = calm
    job = job_of(spec, tmp_path)
    job.folder.mkdir()
    monkeypatch.setattr(checkpoints, "whole_file", lambda path: path.open("wb"))

    def emit(event: object) -> None:
        if isinstance(event, EpochDone) and event.epoch == 3:
            fill(monkeypatch, "checkpoint.pt", 5000)

    with pytest.raises((OSError, RuntimeError)):
        fit_run(job, emit, checkpoint_seconds=0)
    with pytest.raises((RuntimeError, EOFError, OSError)):
        torch.load(job.folder / "checkpoint.pt", weights_only=True)


@pytest.mark.unprotected
def test_errors_as_they_come(fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sentence a full disk ends a command with a traceback."""
    monkeypatch.setattr(module, "full_disk", lambda *_: None)
    with pytest.raises((sqlite3.Error, MlflowException)), full_disk_told():
        _train_without_space(record, fake.Spec("as it comes", trace), "epoch")


@pytest.mark.parametrize("error", [ValueError("database or disk is full"), OSError(errno.EACCES, "no"), KeyError()])
def test_other_errors_are_not_taken_for_a_full_disk(error: Exception) -> None:
    assert full_disk(error) is None


def test_what_a_method_wraps_is_still_a_full_disk(tmp_path: Path) -> None:
    """Every error has the one before as its context, in any number; a circle of causes ends."""
    error: BaseException = OSError(errno.ENOSPC, "No space left on device")
    for number in range(5000):
        after = ValueError(number)
        after.__cause__ = error
        error = after
    assert "the disk is full" in (full_disk(error) or "")
    error.__context__ = error
    assert full_disk(ValueError()) is None
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, "file")
        with pytest.raises(OSError, match="space"):
            write_whole(tmp_path / "file", "a")


def _run(home: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MCR_BENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    shell = ["bash", "-c", f'{before} exec "$@"', "bash", *commands.command(SMALL)]
    return subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=600)


def _train_without_space(record: Record, spec: Any, moment: str) -> None:
    """FullDisk, also where only the end of the run cannot be recorded, which fails the run."""
    with no_page_more(record) if moment == "start" else _nothing(), jobs_of(record, spec) as jobs:
        job = begun(jobs)
        with no_page_more(record) if moment == "epoch" else _nothing():
            for epoch in range(1, EPOCHS):
                record._writing._flushed = 0
                jobs.take(job, _epoch(spec, epoch))
        with no_page_more(record):
            jobs.take(job, _done(job))
    (failure,) = jobs.outcome.failed
    raise FullDisk(failure.reason)


def _epoch(spec: Any, number: int) -> EpochDone:
    metrics = {f"a metric with a name that takes space/{one}": 1 / number for one in range(200)} | {"loss": 1 / number}
    return EpochDone(spec.key, number, 200, metrics, 1.0)


def _done(job: Job) -> RunDone:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.predictions.write_text("predictions")
    tags = {f"tag {number}": "text " * 900 for number in range(60)}
    return RunDone(job.spec.key, {"test/accuracy": 0.5}, 1.5, tags)


def _raise(error: Exception, is_caused: bool) -> None:
    """Raise an error while one of a full disk is handled. is_caused: whether it says so."""
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b")
    except OSError as full:
        if is_caused:
            raise error from full
        raise error  # noqa: B904


_nothing: Callable[[], Any] = pytest.MonkeyPatch.context
