"""Runs that share a GPU: out of memory beside others or alone, no room for a further run; all pretended, on a CPU."""

import io
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console

from mcr_bench.bench.errors import UserError, in_words
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.executors.pool import check_sharing, default_jobs, worker_count
from mcr_bench.bench.executors.sharing import most_on
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.report.progress import Bars, Lines
from mcr_bench.bench.runs.events import EpochDone, Job, RunDone, RunFailed, Shortage, Silent
from mcr_bench.tests.support.cuda import in_no_worker, pretend_gpus
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.pretended_training import epochs, labels, row, run

fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures
TOO_LARGE = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB free.")
CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
CUDNN = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
MPS = RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, other allocations: 1 GB)")
NO_ALGORITHM = RuntimeError(
    "put_ does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'. You "
    "can turn off determinism just for this operation, or you can use the 'warn_only=True' option."
)
MEMORY_RUNS = """
import time
import torch
from fake_runs import Spec, note, train as plain
from mcr_bench.bench.core.memory import NoRoom
from mcr_bench.bench.runs.events import EpochDone, RunDone

def until(path):
    while not path.exists():
        time.sleep(0.01)

def train(job, emit):
    spec, folder = job.spec, job.spec.trace.parent
    at_work = [path.name for path in folder.glob("*.at-work")]
    note(spec, f"{spec.label} begins on {job.device} beside {at_work} alone {job.alone} room {job.room}")
    if spec.behaviour == "huge":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 99.00 GiB.")
    if spec.behaviour == "hungry":
        if not job.alone:
            emit(EpochDone(spec.key, 1, 3, {"loss": 1.0}, time.time()))
            until(folder / "calm.at-work")
            (folder / "told").touch()
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert not at_work, at_work
    if spec.behaviour == "calm":
        (folder / "calm.at-work").touch()
        until(folder / "told")
        (folder / "calm.at-work").unlink()
    if spec.behaviour == "short" and job.room:
        (folder / "told").touch()
        raise NoRoom(f"100 MiB are free, and the largest run so far took {job.room:.0f} MiB")
    plain(job, lambda event: emit(RunDone(spec.key, event.metrics, 1.0, {}, 500.0)
          if isinstance(event, RunDone) and spec.behaviour == "large" else event))
"""


@pytest.fixture(autouse=True)
def memory_runs(fake: ModuleType) -> None:
    (Path(str(fake.__file__)).parent / "memory_runs.py").write_text(MEMORY_RUNS)


@pytest.fixture(autouse=True)
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    cuda = pretend_gpus(monkeypatch, 1)
    with in_no_worker(cuda):
        yield cuda
    assert cuda.calls == []  # the parent has counted, and nothing else


class Known:
    label, seed, dataset, fold, key = "mcr", 3, "toy", 0, "k"


class Watch(Silent):
    def __init__(self) -> None:
        self.waits: list[tuple[str, str]] = []

    def on_retry(self, spec: Any, reason: str) -> None:
        self.waits.append((spec.label, reason))


def share(specs: list[Any], record: Record, **options: Any) -> Any:
    return run(specs, record, **{"jobs": None, "device": "cuda", "entry": "memory_runs:train"} | options)


def begun(trace: Path, label: str) -> list[str]:
    lines = trace.read_text().splitlines()
    return [line.removeprefix(f"{label} begins ") for line in lines if line.startswith(f"{label} begins")]


def test_a_run_that_ran_out_of_memory_beside_another_is_tried_again_alone(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    hungry, calm = fake.Spec("hungry", trace, "hungry"), fake.Spec("calm", trace, "calm")
    after, watch = fake.Spec("after", trace, dependencies=(hungry,)), Watch()
    outcome = share([hungry, after, calm], record, runs_per_gpu=2, observer=watch)
    assert (labels(outcome.finished), outcome.failed) == (["calm", "hungry", "after"], [])
    assert begun(trace, "hungry")[-1] == "on cuda:0 beside [] alone True room 0.0"
    assert len(begun(trace, "hungry")) == 2
    assert [label for label, _ in watch.waits] == ["hungry"]
    assert "cuda:0 ran out of memory" in watch.waits[0][1]
    assert row(record, hungry).status == "finished"
    assert epochs(record, hungry) == [1, 2, 3]  # in one run of the record, no epoch twice
    assert list(record.home.glob("locks/*")) == []


def test_a_run_too_large_for_the_gpu_fails_after_its_second_try(fake: ModuleType, record: Record, trace: Path) -> None:
    huge = [fake.Spec(f"huge {i}", trace, "huge") for i in range(2)]
    outcome = share([*huge, fake.Spec("good", trace)], record, runs_per_gpu=2)
    assert labels(outcome.finished) == ["good"]
    for failure in outcome.failed:
        assert failure.reason.startswith("out of memory: cuda:0 has too little memory for this run")
        assert row(record, failure.spec).failure == failure.reason
        assert "in train" in failure.log.read_text()
    for spec in huge:
        tries = begun(trace, spec.label)
        assert len(tries) <= 2
        if len(tries) == 2:
            assert "alone True" in tries[-1]


def test_a_further_run_without_room_waits_until_another_has_ended(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    large, calm = fake.Spec("large", trace, "large"), fake.Spec("calm", trace, "calm")
    short, watch = fake.Spec("short", trace, "short"), Watch()
    outcome = share([large, calm, short], record, runs_per_gpu=2, observer=watch)
    assert labels(outcome.finished) == ["large", "calm", "short"]
    rooms = [line.rpartition(" ")[2] for line in begun(trace, "short")]
    assert rooms == ["500.0", "0.0"]
    assert [label for label, _ in watch.waits] == ["short"]
    assert "too little free memory" in watch.waits[0][1]


# What a worker tells of its error


def told(error: BaseException, device: str = "cuda:0", **how: Any) -> RunFailed:
    """The last event of a job on this device that ended with the error."""
    job = Job(Known(), device, Path(), {}, Path(), **how)  # type: ignore[arg-type]
    try:
        raise error
    except BaseException as caught:
        return failure_of(job, caught)


def wrapped(error: BaseException, kind: type[Exception]) -> BaseException:
    made = kind("the game cannot be played")
    made.__cause__ = error
    return made


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (TOO_LARGE, "cuda:0"),
        (CUBLAS, "cuda:1"),
        (CUDNN, "cuda:0"),
        (MPS, "mps"),
        (RuntimeError("CUDA error: out of memory"), "cuda:0"),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate`"), "cuda:0"),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"), "cuda:2"),
        (wrapped(TOO_LARGE, ValueError), "cuda:0"),
        (wrapped(wrapped(CUBLAS, KeyError), UserError), "cuda:0"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_out_of_memory_is_a_sentence_with_the_remedy(error: BaseException, device: str, alone: bool) -> None:
    event = told(error, device, alone=alone)
    assert event.short is Shortage.MEMORY
    assert event.reason.startswith(f"out of memory: {device} has too little memory for this run")
    assert ("even without other runs on it" in event.reason) == alone
    for remedy in ("batch_size", "precision=bf16", "--runs-per-gpu 1"):
        assert remedy in event.reason
    assert str(error) in event.traceback


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (ValueError("out of memory of the game"), "cuda:0"),
        (RuntimeError("this game ran out of memory"), "cpu"),
        (MemoryError("out of memory"), "cuda:0"),
        (UserError("out of memory: bring more."), "cuda:0"),
        (NO_ALGORITHM, "cuda:0"),  # the user's own switch, not --deterministic
    ],
)
def test_other_errors_are_told_as_they_are(error: BaseException, device: str) -> None:
    event = told(error, device)
    assert (event.short, event.reason or event.traceback) == (None, in_words(error))


def test_an_operation_without_a_deterministic_algorithm_is_named_with_the_remedy() -> None:
    event = told(NO_ALGORITHM, deterministic=True)
    assert event.short is None
    assert event.reason.startswith("--deterministic: put_ does not have a deterministic implementation (on cuda:0).")
    assert "Leave out --deterministic" in event.reason


# What all executors share: the same rules for somebody else's


def failed(job: Job | None, lacked: Shortage | None) -> RunFailed:
    assert job is not None
    event: RunFailed = pickle.loads(pickle.dumps(RunFailed(job.spec.key, "", "why", lacked)))
    return event


def done(job: Job, reserved: float = 0.0, short: Shortage | None = None) -> RunDone:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.predictions.write_text("predictions")
    job.weights_out.parent.mkdir(exist_ok=True)
    job.weights_out.write_text("weights")
    return RunDone(job.spec.key, {"test/accuracy": 0.5}, 1.0, {}, reserved, short)


def taken(jobs: Jobs, *places: str) -> list[Job]:
    """The jobs given for these places."""
    assert jobs.go_on()
    given = [jobs.next(place) for place in places]
    return [job for job in given if job is not None]


def test_a_run_that_has_to_be_alone_takes_another_gpu_where_one_is_idle(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    plan = TrainingPlan([fake.Spec(f"run {i}", trace) for i in range(5)])
    with Jobs(plan, record, Silent()) as jobs:
        first, second, third = taken(jobs, "cuda:0", "cuda:0", "cuda:1")
        jobs.take(first, failed(first, Shortage.MEMORY))
        (fourth,) = taken(jobs, "cuda:0")  # another run: the first one would not be alone there
        assert fourth.spec.label == "run 3"
        jobs.take(third, done(third))
        (again,) = taken(jobs, "cuda:1")
        assert (again.spec.label, again.device, again.alone) == ("run 0", "cuda:1", True)
        assert taken(jobs, "cuda:1") == []  # nobody joins it
        (fifth,) = taken(jobs, "cuda:0")
        for job in (again, second, fourth, fifth):
            jobs.take(job, done(job))
        assert not jobs.go_on()
    assert len(jobs.outcome.finished) == 5


def test_gpus_of_several_machines_are_told_apart_by_their_place(fake: ModuleType, record: Record, trace: Path) -> None:
    plan = TrainingPlan([fake.Spec(f"run {i}", trace) for i in range(2)])
    with Jobs(plan, record, Silent()) as jobs:
        assert jobs.go_on()
        one, two = jobs.next("cuda:0", place="here"), jobs.next("cuda:0", place="there")
        assert one is not None
        assert two is not None
        assert one.device == two.device == "cuda:0"
        jobs.take(one, failed(one, Shortage.MEMORY))  # it was alone: there is nothing to try again
        jobs.take(two, done(two))
    assert [f.reason for f in jobs.outcome.failed] == ["why"]


def test_the_room_asked_for_is_what_the_largest_run_took(fake: ModuleType, record: Record, trace: Path) -> None:
    plan = TrainingPlan([fake.Spec(f"run {i}", trace) for i in range(6)], deterministic=True)
    with Jobs(plan, record, Silent()) as jobs:
        first, second, third = taken(jobs, *["cuda:0"] * 3)
        assert [job.room for job in (first, second, third)] == [0.0, 0.0, 0.0]  # nothing is known yet
        assert first.deterministic
        jobs.take(first, done(first, 700.0))
        jobs.take(second, done(second, 300.0))
        fourth, fifth = taken(jobs, "cuda:0", "cuda:1")
        assert (fourth.room, fifth.room) == (700.0, 0.0)
        jobs.take(fourth, failed(fourth, Shortage.ROOM))
        assert taken(jobs, "cuda:0") == []  # none until a run there has ended
        jobs.take(third, done(third))
        (again,) = taken(jobs, "cuda:0")
        assert (again.spec, again.alone, again.room) == (fourth.spec, False, 0.0)
        (last,) = taken(jobs, "cuda:0")
        assert last.room == 700.0
        for job in (fifth, again, last):
            jobs.take(job, done(job))
    assert jobs.outcome.failed == []


def test_diagnostics_that_others_left_no_memory_for_are_computed_alone(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    plan = TrainingPlan([fake.Spec(f"run {i}", trace) for i in range(2)])
    with Jobs(plan, record, Silent()) as jobs:
        first, second = taken(jobs, "cuda:0", "cuda:0")
        jobs.take(first, done(first, short=Shortage.MEMORY))
        assert jobs.outcome.finished == []
        jobs.take(second, done(second))
        (again,) = taken(jobs, "cuda:0")
        jobs.take(again, done(again, short=Shortage.MEMORY))  # alone: they are missing, and the run has trained
    assert labels(jobs.outcome.finished) == ["run 1", "run 0"]


def test_a_stopped_command_leaves_what_waits_for_memory_unfinished(
    fake: ModuleType, record: Record, trace: Path
) -> None:
    specs = [fake.Spec(f"run {i}", trace) for i in range(2)]

    def stopped() -> None:
        with Jobs(TrainingPlan(specs), record, Silent()) as jobs:
            first, _ = taken(jobs, "cuda:0", "cuda:0")
            jobs.take(first, EpochDone(first.spec.key, 1, 3, {"loss": 1.0}, 1.0))
            jobs.take(first, failed(first, Shortage.MEMORY))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert {row(record, spec).status for spec in specs} == {"killed"}
    assert epochs(record, specs[0]) == [1]


# How many workers there are


@pytest.mark.parametrize(
    ("device", "gpus", "jobs", "shared", "expected"),
    [
        ("auto", 2, None, None, 2),
        ("cuda", 2, None, 3, 6),
        ("cuda:1", 2, None, 3, 3),
        ("auto", 2, 4, 3, 4),  # --jobs limits
        ("cuda", 1, 8, 2, 2),  # and so does --runs-per-gpu
        ("cuda", 1, 8, None, 8),  # --jobs alone is what it always was
        ("auto", 0, 3, 2, 3),
        ("cpu", 2, 5, None, 5),
        ("mps", 0, 4, None, 1),
    ],
)
def test_the_number_of_workers(
    device: str, gpus: int, jobs: int | None, shared: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, gpus)
    assert worker_count(device, jobs, shared) == expected


@pytest.mark.parametrize(
    ("device", "choice", "gpus", "jobs", "shared", "expected"),
    [
        ("cuda:0", "auto", 1, None, None, 1),
        ("cuda:1", "cuda", 2, None, 3, 3),
        ("cuda:1", "auto", 2, 2, 3, 3),  # --jobs may all be on one of them
        ("cuda:0", "cuda", 2, 5, None, 3),  # dealt out
        ("cuda:1", "cuda:1", 2, 5, None, 5),
        ("cuda:0", "cuda", 0, 4, None, 4),  # a machine that the parent does not see
        ("cpu", "auto", 0, 8, None, 1),
        ("mps", "mps", 0, 1, None, 1),
    ],
)
def test_a_run_knows_how_many_may_share_its_gpu(
    device: str,
    choice: str,
    gpus: int,
    jobs: int | None,
    shared: int | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpus(monkeypatch, gpus)
    assert most_on(device, choice, jobs, shared) == expected


def test_on_the_cpu_there_is_a_worker_per_core(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    assert worker_count("auto", None, 4) == worker_count("cpu") == default_jobs("cpu")


@pytest.mark.parametrize(("device", "shared"), [("cuda", 0), ("auto", -1), ("cpu", 2), ("mps", 2)])
def test_what_cannot_share_is_refused(device: str, shared: int) -> None:
    with pytest.raises(UserError, match=f"--runs-per-gpu {shared}: "):
        check_sharing(device, shared)


# What is shown


def test_a_wait_is_a_line_and_does_not_count_as_an_end() -> None:
    out = io.StringIO()
    lines = Lines(Console(file=out, width=200))
    with lines:
        lines.on_plan(2, 0)
        lines.on_start(Known())  # type: ignore[arg-type]
        lines.on_retry(Known(), "cuda:0 ran out of memory")  # type: ignore[arg-type]
        lines.on_end(Known(), "finished")  # type: ignore[arg-type]
    assert out.getvalue().splitlines()[1] == "waits: mcr · seed 3 · toy fold 0 · cuda:0 ran out of memory"
    assert "[1/2] finished" in out.getvalue()


def test_a_line_tells_the_time_left_at_the_pace_of_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    lines = Lines(Console(file=out, width=200))
    lines.on_plan(8, 5)  # five were finished before, in no time of this command's
    for _ in range(3):
        lines.on_start(Known())  # type: ignore[arg-type]
        now[0] += 180.0
        lines.on_end(Known(), "finished")  # type: ignore[arg-type]
    ends = [line.rpartition(" · ")[2] for line in out.getvalue().splitlines()[1:]]
    assert ends == ["about 6 minutes left", "about 3 minutes left", "180.0 s"]


def test_a_bar_of_a_run_that_waits_goes_until_it_starts_again() -> None:
    out = io.StringIO()
    bars = Bars(Console(file=out, width=200, force_terminal=True))
    with bars:
        bars.on_plan(1, 0)
        bars.on_start(Known())  # type: ignore[arg-type]
        bars.on_retry(Known(), "cuda:0 ran out of memory")  # type: ignore[arg-type]
        assert bars.running.tasks == []
        bars.on_start(Known())  # type: ignore[arg-type]
        bars.on_end(Known(), "finished")  # type: ignore[arg-type]
    assert bars.running.tasks == []
    assert "waits: mcr" in out.getvalue()
