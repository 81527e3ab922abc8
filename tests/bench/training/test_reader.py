"""Reading ahead changes no batch, reads at most two batches ahead, and ends whatever happens."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core import seeds
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.training import loop, reader
from mcr_bench.bench.training.checkpoints import load_weights
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.bench.training.reader import reading
from mcr_bench.datasets.base import Batch, Rows, Split, StoredRows
from mcr_bench.tests.support.cuda import StayOnCpu, pretend_gpus
from mcr_bench.tests.support.runs.measured import MEASURED
from mcr_bench.tests.support.runs.stored_set import SET

CPU = torch.device("cpu")
SMALL = {
    "epochs": ["2"],
    "batch_size": ["8"],
    "encoder.width": ["8"],
    "model.width": ["6"],
    "encoder.dropout": ["0.3"],
    "encoder.frames.kind": ["conv2d"],
    "encoder.flow.kind": ["conv2d"],
    "encoder.steps.kind": ["conv1d"],
}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read ahead, as on a GPU."""
    monkeypatch.setattr(reader, "helps", lambda _: True)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Numbered(StoredRows):
    """Sample i is (i, i + 0.5), stored as integers; augmented by a number from the seed. Every read is noted."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.shape, self.row, self.dtype = (count, 2), (2,), torch.int32
        self.fails_at = fails_at
        self.reads: list[list[int]] = []
        self.threads: set[str] = set()
        self.begun = threading.Semaphore(0)

    def read(self, index: Tensor, into: Tensor) -> None:
        self.threads.add(threading.current_thread().name)
        self.reads.append(index.tolist())
        self.begun.release()
        if self.fails_at is not None and self.fails_at in index:
            raise OSError(5, "Input/output error", "steps.npy")
        into.copy_(torch.stack([2 * index, 2 * index + 1], 1))

    def made(self, raw: Tensor, index: Tensor, seed: int | None) -> Tensor:
        return raw.float() / 2 + (0 if seed is None else seed % 1000)

    def mean(self) -> Tensor:
        return torch.zeros(2)

    def to(self, device: torch.device) -> "Numbered":
        return self


class Foreign(Rows):
    """Rows that know nothing of reading ahead."""

    shape = (20, 1)

    def __getitem__(self, index: Tensor) -> Tensor:
        return index[:, None].float()

    def augmented(self, index: Tensor, seed: int) -> Tensor:
        return index[:, None].float() + seed % 7

    def mean(self) -> Tensor:
        return torch.zeros(1)

    def to(self, device: torch.device) -> "Foreign":
        return self


def split_of(**values: Tensor | Rows) -> Split:
    count = 20
    return Split(values, torch.arange(count), [str(i) for i in range(count)])


def epoch(split: Split, order: Tensor, size: int = 6) -> list[Batch]:
    """The training batches of an epoch, each followed by a draw as a step with dropout makes."""
    batches = []
    with reading(split, order, size) as parts:
        for step, index in enumerate(parts):
            seeds.reseed(CPU, 3, "augment", 1, step)
            batch = split.training_batch(index)
            batch.inputs.values["drawn"] = torch.rand(4)
            batches.append(batch)
    return batches


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(
        torch.equal(a.index, b.index)
        and torch.equal(a.target, b.target)
        and all(torch.equal(a.inputs.values[m], b.inputs.values[m]) for m in a.inputs.values)
        for a, b in pairs
    )


def test_batches_and_later_draws_are_those_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Numbered(20)
    split = split_of(stored=rows, twice=rows, foreign=Foreign(), memory=torch.randn(20, 3))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    calm = epoch(split, order)
    assert rows.threads == {threading.current_thread().name}
    monkeypatch.setattr(reader, "helps", lambda _: True)
    assert same(epoch(split, order), calm)
    assert "reader of batches" in rows.threads
    assert rows.ahead is None


def test_on_a_cpu_and_for_data_in_memory_there_is_no_thread() -> None:
    assert not reader.helps(CPU)
    assert not reader.helps(torch.device("mps"))
    assert reader.helps(torch.device("cuda:1"))
    with reading(split_of(memory=torch.randn(20, 3)), torch.arange(20), 6) as parts:
        assert [len(index) for index in parts] == [6, 6, 6, 2]
        assert all(thread.name != "reader of batches" for thread in threading.enumerate())


@pytest.mark.usefixtures("on")
def test_it_is_two_batches_ahead_and_no_more() -> None:
    rows = Numbered(20)
    with reading(split_of(stored=rows), torch.arange(20), 2) as parts:
        for place, index in enumerate(parts):
            for _ in range(2 if not place else 1):  # what may be read by now is read
                assert place > 8 or rows.begun.acquire(timeout=60)
            assert len(rows.reads) == min(place + 2, 10)
            rows[index]


@pytest.mark.usefixtures("on")
def test_any_other_index_is_read_when_it_is_asked_for() -> None:
    rows = Numbered(20)
    with reading(split_of(stored=rows), torch.arange(20), 5) as parts:
        assert rows[torch.tensor([7, 3])][:, 0].tolist() == [7, 3]
        assert rows[parts[2]][:, 0].tolist() == [10, 11, 12, 13, 14]  # two are left out
        assert rows[parts[0]][:, 0].tolist() == [0, 1, 2, 3, 4]
        assert rows[parts[2]][:, 0].tolist() == [10, 11, 12, 13, 14]  # a second time
        assert rows[parts[3]][:, 0].tolist() == [15, 16, 17, 18, 19]


@pytest.mark.usefixtures("on")
def test_an_epoch_within_an_epoch() -> None:
    rows = Numbered(20)
    split = split_of(stored=rows)
    with reading(split, torch.arange(20), 5) as parts:
        rows[parts[0]]
        inner = [batch.inputs.values["stored"] for batch in epoch(split, torch.arange(20).flip(0), 10)]
        assert inner[0][0, 1] - inner[0][0, 0] == 0.5
        assert rows[parts[1]][:, 0].tolist() == [5, 6, 7, 8, 9]


class Doubled(Split):
    """A user's split that builds on the harness's batches."""

    def training_batch(self, index: Tensor) -> Batch:
        batch = super().training_batch(index)
        return replace(batch, inputs=batch.inputs.replace({m: 2 * x for m, x in batch.inputs.values.items()}))


class Fixed(Split):
    """A user's split that never asks for what was read ahead."""

    def training_batch(self, index: Tensor) -> Batch:
        return self.batch(torch.tensor([4, 1]))


class Own(Numbered):
    """A user's rows with a way of their own to augment."""

    def augmented(self, index: Tensor, seed: int) -> Tensor:
        return super().augmented(index, 0) if index[0] > 8 else index[:, None].float()


@pytest.mark.parametrize(("kind", "rows"), [(Doubled, Numbered), (Fixed, Numbered), (Split, Own), (Doubled, Own)])
def test_splits_and_rows_that_override_their_batches_work(
    kind: type[Split], rows: type[Numbered], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = kind({"stored": rows(20)}, torch.arange(20), [str(i) for i in range(20)])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    calm = epoch(split, order)
    monkeypatch.setattr(reader, "helps", lambda _: True)
    assert same(epoch(split, order), calm)


@pytest.mark.usefixtures("on")
def test_an_error_of_the_thread_is_raised_where_the_batch_is_asked_for() -> None:
    rows = Numbered(20, fails_at=8)
    split = split_of(stored=rows)
    with reading(split, torch.arange(20), 5) as parts:
        assert split.training_batch(parts[0]).index.tolist() == [0, 1, 2, 3, 4]
        for _ in range(2):
            with pytest.raises(OSError, match=r"steps\.npy") as caught:
                split.training_batch(parts[1])
    assert "read" in [entry.name for entry in caught.traceback]
    assert rows.ahead is None


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("size", [3, 5])
def test_a_gpu_gets_batches_through_three_pinned_buffers(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No buffer is written to before the copy from it has ended, and every batch is waited for."""
    rows = Numbered(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    calm = epoch(split_of(stored=Numbered(20)), order, size)
    gpu = pretend_gpus(monkeypatch, 1)
    devices.ready("cuda:0")
    rows.device = torch.device("cuda:0")
    with StayOnCpu():
        assert same(epoch(split_of(stored=rows), order, size), calm)
    assert gpu.pinned == 3
    begun, batches = "stream 0 waits for default stream", len(calm)
    assert gpu.order[0] == begun
    queued = [text for text in gpu.order[1:] if "host" not in text]
    assert queued == ["an event on stream 0", "default stream waits for stream 0"] * batches
    assert gpu.order.count("the host waits for an event") == batches - 3


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_it_ends_when_a_step_fails(error: type[BaseException]) -> None:
    rows = Numbered(20)
    split = split_of(stored=rows)

    def fail() -> None:
        with reading(split, torch.arange(20), 2) as parts:
            split.training_batch(parts[0])
            raise error

    with pytest.raises(error):
        fail()
    assert rows.ahead is None


@pytest.mark.usefixtures("on")
def test_a_read_that_hangs_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a read that does not return; the thread is let go at the end of this test."""
    monkeypatch.setattr(reader, "PATIENCE", 0.01)
    asked, go = threading.Event(), threading.Event()

    class Hanging(Numbered):
        def read(self, index: Tensor, into: Tensor) -> None:
            asked.set()
            go.wait(60)

    def interrupted() -> None:
        with reading(split_of(stored=Hanging(20)), torch.arange(20), 5):
            assert asked.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    go.set()
    for thread in threading.enumerate():
        if thread.name == "reader of batches":
            thread.join(60)


def run_of(folder: Path, home: Path, **options: Any) -> tuple[list[Event], Job]:
    """The events of joint training on the stored set, and its job."""
    file = folder / "stored.py"
    file.write_text(SET)
    (spec,) = make_plan(Request(["joint"], [str(file)], seeds=[3], overrides=SMALL)).runs
    job = Job(spec, "cpu", home / "work", {}, home / "weights.pt")
    events: list[Event] = []
    fit_run(job, events.append, **options)
    return events, job


def results(events: list[Event]) -> tuple[list[dict[str, float]], dict[str, float]]:
    final = next(e.metrics for e in events if isinstance(e, RunDone))
    epochs = [e.metrics for e in events if isinstance(e, EpochDone)]
    return epochs, {k: v for k, v in final.items() if k not in MEASURED}


def equal_runs(one: tuple[list[Event], Job], other: tuple[list[Event], Job]) -> None:
    assert results(one[0]) == results(other[0])
    weights = [load_weights(job.weights_out, CPU) for _, job in (one, other)]
    assert all(torch.equal(x, weights[1][name]) for name, x in weights[0].items())
    assert pq.read_table(one[1].predictions).equals(pq.read_table(other[1].predictions))


class Killed(BaseException):
    """Stands for kill -9."""


def test_a_run_is_the_same_and_resumes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random crops of frames and flow, padded standardised sequences, encoders with dropout; killed in an epoch."""
    calm = run_of(tmp_path, tmp_path / "calm")
    monkeypatch.setattr(reader, "helps", lambda _: True)
    equal_runs(run_of(tmp_path, tmp_path / "ahead"), calm)
    train_epoch, take = loop.train_epoch, Split.training_batch

    def killed_in_the_second(run: loop.Training) -> None:
        asked: list[int] = []

        def dying(split: Split, index: Tensor) -> Batch:
            asked.append(len(index))
            if run.fit.epoch == 2 and len(asked) == 3:
                raise Killed
            return take(split, index)

        with monkeypatch.context() as patched:
            patched.setattr(Split, "training_batch", dying)
            train_epoch(run)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_epoch", killed_in_the_second)
        with pytest.raises(Killed):
            run_of(tmp_path, tmp_path / "killed", checkpoint_seconds=0)
    assert (tmp_path / "killed/work/checkpoint.pt").is_file()
    resumed = run_of(tmp_path, tmp_path / "killed", checkpoint_seconds=0)
    equal_runs(resumed, calm)
    tags = next(e.tags for e in resumed[0] if isinstance(e, RunDone))
    assert tags["data/place"] == "disk"
