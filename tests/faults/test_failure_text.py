"""What is kept of an error: its type and its text, whatever they are."""

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mcr_bench.bench.executors import failures
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.record import tracking
from mcr_bench.bench.record.row import RunRow
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import Job, RunDone, RunFailed
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import odd_errors, pretended_training
from mcr_bench.tests.support.runs.odd_errors import ENDS, KINDS
from mcr_bench.tests.support.runs.pretended_training import begun, jobs_of, row

pytestmark = pytest.mark.slow  # `make faults` makes these trials
FAULT = Fault(
    "a run ends with an error that is hard to tell of: 20 MB of text, halves of characters, zero bytes, text that "
    "fails or ends the program, groups and chains of thousands, SystemExit, endless recursion, closed outputs",
    "type and text on one line of at most 2,000 characters, a traceback of at most 100,000, control characters as "
    "escapes; always recorded: no run stays running",
)
LONGEST_FILE = 7 * 100_100  # an escape is longer than what it stands for
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "outputs closed"])
def test_an_error_becomes_plain_text_of_bounded_length(kind: str, fake: ModuleType, trace: Path) -> None:
    spec = fake.Spec(kind, trace, kind)
    failed = _failure(spec, kind)
    assert pickle.loads(pickle.dumps(failed)) == failed
    for text in (failed.reason, failed.traceback):
        assert type(text) is str
        text.encode()
    assert len(failed.reason) <= failures.LONGEST
    assert len(failed.traceback) <= LONGEST_FILE


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, fake: ModuleType, record: Record
) -> tuple[dict[str, Any], dict[str, str]]:
    """Kind -> its run, and its reason as the command tells it, of runs in worker processes."""
    trace = tmp_path_factory.mktemp("ended") / "trace"
    specs = {kind: fake.Spec(kind, trace, kind, seed=n) for n, kind in enumerate(KINDS | ENDS)}
    outcome = pretended_training.run(list(specs.values()), record, entry=f"{odd_errors.__name__}:train")
    assert outcome.finished == []
    return specs, {failure.spec.label: failure.reason for failure in outcome.failed}


@pytest.mark.parametrize("kind", [*KINDS, *ENDS])
def test_a_run_that_ends_so_is_recorded_as_failed(
    ended: tuple[dict[str, Any], dict[str, str]], record: Record, kind: str
) -> None:
    specs, reasons = ended
    words = (KINDS | ENDS)[kind][1]
    kept = row(record, specs[kind])
    assert kept.status == "failed"
    assert reasons[kind].startswith(words)
    assert kept.failure.startswith(words[:900])
    assert len(kept.failure) <= 2000
    assert _traceback(kept).stat().st_size <= LONGEST_FILE


@pytest.mark.parametrize("text", ["a \ud800 b", "a\x00b", "x" * 20_000_000, "\n\n", "\x1b[2J"])
def test_what_other_executors_tell_is_recorded_too(fake: ModuleType, record: Record, trace: Path, text: str) -> None:
    spec = fake.Spec(f"told {text[:5]!r} {len(text)}", trace)
    with jobs_of(record, spec) as jobs:
        job = begun(jobs)
        jobs.take(job, RunFailed(spec.key, text, text))
    assert row(record, spec).status == "failed"
    assert len(jobs.outcome.failed[0].reason) <= 1000


@pytest.mark.parametrize("text", ["a \ud800 b", "a\x00b"])
def test_a_run_whose_tags_hold_such_text_finishes(fake: ModuleType, record: Record, trace: Path, text: str) -> None:
    spec = fake.Spec(f"tag {text!r}", trace)
    with jobs_of(record, spec) as jobs:
        job = begun(jobs)
        job.folder.mkdir(parents=True)
        job.predictions.write_text("predictions")
        jobs.take(job, RunDone(spec.key, {"test/accuracy": 0.5}, 1.0, {"about": text}))
    assert jobs.outcome.finished == [spec]
    assert row(record, spec).status == "finished"


@pytest.mark.unprotected
def test_texts_as_they_are(fake: ModuleType, record: Record, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a traceback is kept as it is, half a character keeps a failed run from being recorded whole."""
    monkeypatch.setattr(tracking, "within_bounds", lambda text: text)
    spec = fake.Spec("as it is", trace)
    with jobs_of(record, spec) as jobs:
        jobs.take(begun(jobs), RunFailed(spec.key, "a \ud800 b", "reason"))
    assert not _traceback(row(record, spec)).exists()


@pytest.mark.unprotected
def test_an_error_is_asked_for_its_text(fake: ModuleType, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without care for texts that fail, telling of an error ends the worker."""
    monkeypatch.setattr(failures, "in_words", str)
    with pytest.raises(ValueError, match="no words"):
        _failure(fake.Spec("asked", trace), "a text that fails")


def _failure(spec: Any, kind: str) -> RunFailed:
    job = Job(spec, "cpu", Path("none"), {}, Path("none"))
    try:
        KINDS[kind][0]()
    except BaseException as error:
        return failure_of(job, error)
    raise AssertionError(kind)


def _traceback(kept: RunRow) -> Path:
    return Path(kept.artifacts.removeprefix("file://")) / "failure.txt"
