"""Checkpoints, and weights that runs start from, that are no longer what was written."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from mcr_bench.bench.core.faults import damaged
from mcr_bench.bench.core.faults.damaged import Damaged
from mcr_bench.bench.executors.base import TrainingPlan
from mcr_bench.bench.executors.failures import failure_of
from mcr_bench.bench.executors.jobs import Jobs
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone, RunFailed, Silent, Told
from mcr_bench.bench.training import checkpoints
from mcr_bench.bench.training.checkpoints import EARLIER, NAME, load_weights, save_weights
from mcr_bench.bench.training.loop import fit_run, start
from mcr_bench.tests.support.faults import Fault
from mcr_bench.tests.support.runs import pretended_training
from mcr_bench.tests.support.runs.hooked import Killed, Result, array_file, job_of, runs_of, same, trained
from mcr_bench.tests.support.runs.pretended_training import begun, jobs_of

FAULT = Fault(
    "a checkpoint, or the weights that an ensemble or a frozen start needs, is cut off, has flipped bits, is empty, "
    "missing, a folder, unreadable, of another run, or a file that would run code",
    "seen by its checksums and its key when it is read, set aside as `.damaged` with a note; a run goes on from the "
    "checkpoint before, else from its start, to the same bits; damaged weights are trained again",
)
fake, record, trace = pretended_training.fake, pretended_training.record, pretended_training.trace  # fixtures
EPOCHS = 4


class Bomb:
    """Makes a file in the folder of its argument when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def _cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def _flip(share: float) -> Callable[[Path], object]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(share * (len(content) - 1))] ^= 16
        path.write_bytes(content)

    return flip


def _in_place(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


def _packed(path: Path) -> None:
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _of_another_run(path: Path) -> None:
    """A whole file: its bits and checksums are right."""
    with path.open("wb") as file:
        torch.save({"epoch": 1, "weight": torch.zeros(3)}, file)
        damaged.sign(file, "another")


KINDS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    **{f"cut at {share}": _cut(share) for share in (0.001, 0.3, 0.7, 0.95, 0.999)},
    **{f"one bit at {share}": _flip(share) for share in (0, 0.2, 0.8, 1)},
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not found"),
    "a pickle that runs code": lambda path: path.write_bytes(pickle.dumps(Bomb(path.parent / "bomb"))),
    "an archive that runs code": lambda path: torch.save({"model": Bomb(path.parent / "bomb")}, path),
    "packed": _packed,
    "of another run": _of_another_run,
    "of another program": lambda path: torch.save([1, 2], path),
    "a folder": _in_place(Path.mkdir),
    "a pipe": _in_place(lambda path: os.mkfifo(path)),
    "a link that leads nowhere": _in_place(lambda path: path.symlink_to("nowhere")),
}


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Result, Path]:
    """A run, what it gives undisturbed, and a folder with its two checkpoints when it was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("half")
    (spec,) = runs_of("joint", array_file(folder / "data.npz"))
    undisturbed = trained(spec, folder / "calm")
    with pytest.raises(Killed):
        fit_run(job_of(spec, folder / "killed"), _killed_in(3), checkpoint_seconds=0)
    return spec, undisturbed, folder / "killed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_goes_on_from_the_one_before(
    half: tuple[Any, Result, Path], tmp_path: Path, kind: str
) -> None:
    spec, undisturbed, killed = half
    job = _copy(spec, killed, tmp_path)
    KINDS[kind](job.folder / NAME)
    events = _end(job)
    assert same(Result(job, events), undisturbed)
    assert len(_told(events)) == 1
    assert len(list(job.folder.glob("*.damaged"))) == 1
    assert not (job.folder / "bomb").exists()


@pytest.mark.parametrize("kind", ["cut at 0.7", "of another run"])
def test_where_both_checkpoints_are_damaged_the_run_starts_over(
    half: tuple[Any, Result, Path], tmp_path: Path, kind: str
) -> None:
    spec, undisturbed, killed = half
    job = _copy(spec, killed, tmp_path)
    for name in (NAME, EARLIER):
        KINDS[kind](job.folder / name)
    events = _end(job)
    assert len(_told(events)) == 2
    assert same(Result(job, events), undisturbed)


def test_a_checkpoint_that_does_not_fit_its_run_is_set_aside(half: tuple[Any, Result, Path], tmp_path: Path) -> None:
    """Its bits are right, but half of it is taken over when it turns out to be of no use."""
    spec, undisturbed, killed = half
    job = _copy(spec, killed, tmp_path)
    state = torch.load(job.folder / NAME, weights_only=True)
    state["optimizer"]["param_groups"] = []
    torch.save(state, job.folder / NAME)
    events = _end(job)
    assert "is damaged: ValueError" in _told(events)[0]
    assert same(Result(job, events), undisturbed)


def test_a_checkpoint_that_cannot_be_read_is_set_aside(
    half: tuple[Any, Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, undisturbed, killed = half
    job = _copy(spec, killed, tmp_path)
    opened = damaged.ZipFile

    def failing(path: Path) -> ZipFile:
        if path.name == NAME and not list(job.folder.glob("*.damaged")):
            raise OSError(5, "Input/output error")
        return opened(path)

    monkeypatch.setattr(damaged, "ZipFile", failing)
    events = _end(job)
    assert "Input/output error" in _told(events)[0]
    assert same(Result(job, events), undisturbed)


def test_lack_of_memory_is_not_taken_for_damage(
    half: tuple[Any, Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _, killed = half
    job = _copy(spec, killed, tmp_path)

    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        _end(job)
    assert (job.folder / NAME).exists()


def test_no_flipped_bit_of_a_file_changes_what_is_read(tmp_path: Path) -> None:
    """Every bit of a small file in turn: it is read as it was written, or not at all."""
    path, weights = tmp_path / "weights.pt", {"a": torch.arange(5.0), "b": torch.tensor([1, 2])}
    save_weights(path, weights, "key")
    content = path.read_bytes()
    seen = 0
    for place in range(0, len(content) * 8, 27):  # 27 has no factor in common with eight: all bits of a byte occur
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            read = load_weights(path, torch.device("cpu"), "key")
        except Damaged:
            seen += 1
            continue
        assert list(read) == list(weights)
        assert all(torch.equal(read[name], weights[name]) for name in weights)
    assert seen > 100


@pytest.mark.parametrize("kind", ["missing", *KINDS])
def test_damaged_weights_name_the_run_that_has_to_be_trained_again(
    kind: str, tmp_path: Path, pair: tuple[Any, Path]
) -> None:
    spec, home = pair
    job = job_of(spec, shutil.copytree(home, tmp_path / "home"))
    first = spec.dependencies[0].key
    KINDS.get(kind, Path.unlink)(job.weights[first])
    with pytest.raises(Damaged) as raised:
        start(job)
    failed = failure_of(job, raised.value)
    assert failed.damaged == first
    assert str(job.weights[first]) in failed.reason
    assert not (tmp_path / "home" / "bomb").exists()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """An ensemble, and the folder with the weights of the runs that it is made of."""
    folder = tmp_path_factory.mktemp("pair")
    *parts, ensemble = runs_of("ensemble", array_file(folder / "data.npz"))
    for part in parts:
        trained(part, folder / "home")
    return ensemble, folder / "home"


def test_weights_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.pt")
    assert torch.equal(load_weights(tmp_path / "weights.pt", torch.device("cpu"), "key")["a"], torch.ones(2))


@pytest.mark.parametrize("kind", ["file", "folder", "gone"])
def test_the_run_with_damaged_weights_is_trained_again_and_then_the_others(
    fake: ModuleType, record: Record, trace: Path, kind: str
) -> None:
    """Two runs start from it; both meet the damage, and it is trained again once."""
    first = fake.Spec(f"first {kind}", trace)
    seconds = [fake.Spec(f"second {number} {kind}", trace, dependencies=(first,)) for number in range(2)]
    notes: list[str] = []
    with jobs_of(record, first) as jobs:
        _finish(jobs, begun(jobs))
    path = record.home / "weights" / f"{first.key}.pt"
    with Jobs(TrainingPlan(seconds, device="cpu"), record, _Noting(notes)) as jobs:
        started = [begun(jobs), begun(jobs)]
        if kind != "file":
            path.unlink()
        if kind == "folder":
            path.mkdir()
        for job in started:
            jobs.take(job, RunFailed(job.spec.key, "", f"'{path}' is damaged: so", damaged=first.key))
        again = begun(jobs)
        assert again.spec == first
        assert jobs.next("cpu") is None
        _finish(jobs, again)
        for _ in seconds:
            _finish(jobs, begun(jobs))
        assert not jobs.go_on()
    assert jobs.outcome.finished[0] == first
    assert {run.key for run in jobs.outcome.finished} == {run.key for run in (first, *seconds)}
    assert jobs.outcome.failed == []
    assert len(notes) == 1
    assert "is damaged: so" in notes[0]


def test_weights_that_stay_damaged_fail_the_run(fake: ModuleType, record: Record, trace: Path) -> None:
    first = fake.Spec("once more", trace)
    second = fake.Spec("never", trace, dependencies=(first,))
    with jobs_of(record, first, second) as jobs:
        _finish(jobs, begun(jobs))
        job = begun(jobs)
        jobs.take(job, RunFailed(second.key, "", "damaged", damaged=first.key))
        _finish(jobs, begun(jobs))
        jobs.take(begun(jobs), RunFailed(second.key, "", "damaged", damaged=first.key))
        assert not jobs.go_on()
    assert [failure.reason for failure in jobs.outcome.failed] == ["damaged"]


@pytest.mark.unprotected
def test_bits_are_not_checked(half: tuple[Any, Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checksums a flipped bit changes the results of a resumed run in silence."""
    spec, undisturbed, killed = half
    job = _copy(spec, killed, tmp_path)
    monkeypatch.setattr(checkpoints, "check_archive", lambda *_: None)
    path = job.folder / NAME
    state = torch.load(path, weights_only=True)
    weight = next(value for value in state["model"].values() if value.is_floating_point() and value.numel() > 4)
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 2] ^= 64
    path.write_bytes(content)
    events = _end(job)
    assert not _told(events)
    assert not same(Result(job, events), undisturbed)


@pytest.mark.unprotected
def test_nothing_is_set_aside(half: tuple[Any, Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a damaged checkpoint stays in its place, the run fails at every start."""
    spec, _, killed = half
    job = _copy(spec, killed, tmp_path)
    KINDS["cut at 0.7"](job.folder / NAME)
    monkeypatch.setattr(checkpoints, "_unusable", lambda *given: given[-1])
    for _ in range(2):
        with pytest.raises(Exception, match=r"zip|central directory"):
            _end(job)


class _Noting(Silent):
    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def on_note(self, spec: Any, text: str) -> None:
        self.notes.append(text)


def _killed_in(epoch: int) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        if isinstance(event, EpochDone) and event.epoch == epoch:
            raise Killed

    return emit


def _copy(spec: Any, home: Path, to: Path) -> Job:
    return job_of(spec, Path(shutil.copytree(home, to / "home")))


def _end(job: Job) -> list[Event]:
    events: list[Event] = []
    fit_run(job, events.append, checkpoint_seconds=0)
    return events


def _told(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Told)]


def _finish(jobs: Jobs, job: Job) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    job.weights_out.parent.mkdir(parents=True, exist_ok=True)
    job.predictions.write_text("predictions")
    job.weights_out.write_text("weights")
    jobs.take(job, RunDone(job.spec.key, {"test/accuracy": 0.5}, 1.5))
