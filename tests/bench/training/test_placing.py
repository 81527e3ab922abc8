"""Where samples lie: those on disk move to a GPU if they fit into their share of its memory, with the same batches."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.problem import stored
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone
from mcr_bench.bench.training import reader
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.bench.training.placing import SHARE, fits, place_of, placed
from mcr_bench.datasets.base import Rows, Split, StoredRows
from mcr_bench.tests.support.cuda import StayOnCpu, StrictCuda, load_on_cpu, pretend_gpus
from mcr_bench.tests.support.runs.stored_set import SET

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
OVERRIDES = {
    "epochs": ["1"],
    "batch_size": ["8"],
    "encoder.width": ["8"],
    "model.width": ["6"],
    "encoder.dropout": ["0.3"],
    "encoder.frames.kind": ["conv2d"],
}


class Bytes(StoredRows):
    """Samples of 8 bytes each: (i, 2 i, ..., 8 i)."""

    def __init__(self, count: int) -> None:
        self.shape, self.row, self.dtype = (count, 8), (8,), torch.uint8

    def read(self, index: Tensor, into: Tensor) -> None:
        into.copy_(index[:, None] * torch.arange(1, 9))

    def made(self, raw: Tensor, index: Tensor, seed: int | None) -> Tensor:
        return raw.float() + index[:, None] / 100 + (seed or 0)

    def mean(self) -> Tensor:
        return torch.zeros(8)

    def to(self, device: torch.device) -> "Bytes":
        return self


def split_of(count: int, **values: Tensor | Rows) -> Split:
    return Split(values, torch.zeros(count), [str(i) for i in range(count)])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StrictCuda:
    load_on_cpu(monkeypatch)
    cuda = pretend_gpus(monkeypatch, 1)
    cuda.init()
    cuda.set_device(0)
    return cuda


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("size", [1, 1000, 5_000_000_000])
def test_a_share_of_free_memory_is_divided_among_the_runs(size: int, runs: int) -> None:
    assert SHARE == 4
    assert fits(size, 4 * runs * size, runs)
    assert not fits(size, 4 * runs * size - 1, runs)


@pytest.mark.parametrize(("free", "runs", "place"), [(960, 1, "device"), (959, 1, "disk"), (1919, 2, "disk")])
def test_all_parts_move_or_none(free: int, runs: int, place: str, gpu: StrictCuda) -> None:
    """20 and 10 samples of 8 bytes: 240 bytes."""
    gpu.free = [free]
    parts = [split_of(20, a=Bytes(20), b=torch.zeros(20, 2)), split_of(10, a=Bytes(10))]
    moved = placed(parts, GPU, runs)
    assert [place_of(part) for part in moved] == [place, place]
    index = torch.tensor([7, 0, 3])
    for part, before in zip(moved, parts, strict=True):
        assert torch.equal(part.batch(index).inputs.values["a"], before.batch(index).inputs.values["a"])
        torch.manual_seed(3)
        one = part.training_batch(index).inputs.values["a"]
        torch.manual_seed(3)
        assert torch.equal(one, before.training_batch(index).inputs.values["a"])


def test_rows_are_brought_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", 50)  # six samples, and what is left
    rows = Bytes(20)
    held = rows.brought()
    assert held.held is not None
    assert torch.equal(held.held, (torch.arange(20)[:, None] * torch.arange(1, 9)).to(torch.uint8))
    assert rows.held is None
    assert rows.stored_bytes == 160


def test_on_a_cpu_rows_stay_on_disk_and_tensors_in_memory() -> None:
    (part,) = placed([split_of(20, a=Bytes(20))], CPU)
    assert place_of(part) == "disk"
    assert place_of(split_of(20, a=torch.zeros(20, 2))) == "memory"


def test_where_memory_is_taken_meanwhile_they_stay_on_disk(gpu: StrictCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_little(_: StoredRows) -> StoredRows:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Bytes, "brought", too_little)
    with pytest.warns(UserWarning, match=r"samples stay on disk: CUDA out of memory\."):
        (part,) = placed([split_of(20, a=Bytes(20))], GPU)
    assert place_of(part) == "disk"
    assert gpu.calls[-1] == "mem_get_info"


def trained(device: str, file: Path, home: Path, sharing: int = 1) -> tuple[list[dict[str, float]], dict[str, str]]:
    """The metrics of every epoch and the tags of joint training."""
    (spec,) = make_plan(
        Request(["joint"], [str(file)], modalities=("frames", "steps"), seeds=[3], overrides=OVERRIDES)
    ).runs
    events: list[Event] = []
    fit_run(Job(spec, device, home, {}, home / "weights.pt", sharing=sharing), events.append)
    done = next(e for e in events if isinstance(e, RunDone))
    final = {name: value for name, value in done.metrics.items() if not name.startswith("cost/")}
    return [e.metrics for e in events if isinstance(e, EpochDone)] + [final], done.tags


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_run_is_the_same_from_disk_and_from_the_device(
    gpu: StrictCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pretended GPU, whose share of memory is too small for three runs."""
    file = tmp_path / "stored.py"
    file.write_text(SET)
    monkeypatch.setattr(reader, "helps", lambda _: True)
    gpu.free = [8 * 55 * (2 * 3 * 12 * 12 + 7 * 2 * 2)]  # training and validation: 55 samples, twice their share
    with StayOnCpu():
        disk, tags = trained("cuda:0", file, tmp_path / "disk", sharing=3)
        assert tags["data/place"] == "disk"
        device, tags = trained("cuda:0", file, tmp_path / "device")
        assert tags["data/place"] == "device"
    assert device == disk
