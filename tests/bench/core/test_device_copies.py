"""Copies to a GPU: pinned buffers are used in turn and never too early, and work beside the training is waited for."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.core import device as devices
from mcr_bench.tests.support.cuda import StayOnCpu, StrictCuda, pretend_gpus

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> StrictCuda:
    cuda = pretend_gpus(monkeypatch, 1)
    devices.ready("cuda:0")
    return cuda


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_on_a_cpu_every_block_has_memory_of_its_own(dtype: torch.dtype) -> None:
    slot = devices.Slot(CPU, (4, 3), dtype)
    blocks = [slot.block(count) for count in (4, 2)]
    assert [tuple(block.shape) for block in blocks] == [(4, 3), (2, 3)]
    assert blocks[0].dtype == dtype
    assert slot.copy(blocks[0]).data_ptr() == blocks[0].data_ptr() != blocks[1].data_ptr()


def test_a_pinned_buffer_waits_for_the_copy_from_it(gpu: StrictCuda) -> None:
    slot = devices.Slot(GPU, (4, 3), torch.uint8)
    assert gpu.pinned == 1
    first = slot.block(4)
    assert gpu.order == []  # nothing was copied yet
    with StayOnCpu():
        slot.copy(first)
    second = slot.block(2)
    assert second.data_ptr() == first.data_ptr()
    assert gpu.order == ["an event on default stream", "the host waits for an event"]


def test_without_pinned_memory_it_says_so(gpu: StrictCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise RuntimeError("cannot pin")

    monkeypatch.setattr(gpu, "checked", refused)
    with pytest.warns(UserWarning, match="not in pinned memory"):
        slot = devices.Slot(GPU, (4, 3), torch.uint8)
    assert slot.block(4).shape == (4, 3)


def test_what_is_made_beside_comes_after_what_was_queued_and_before_what_follows(gpu: StrictCuda) -> None:
    beside = devices.Beside(GPU)
    beside.begin()
    seen: list[str] = []

    def make() -> Tensor:
        seen.append(gpu.streams[-1].name)
        return torch.ones(2)

    assert torch.equal(beside.made(make), torch.ones(2))
    assert seen == ["stream 0"]
    assert gpu.order == ["stream 0 waits for default stream", "default stream waits for stream 0"]


def test_on_a_cpu_nothing_is_beside(gpu: StrictCuda) -> None:
    before = list(gpu.calls)
    beside = devices.Beside(CPU)
    beside.begin()
    assert torch.equal(beside.made(lambda: torch.ones(2)), torch.ones(2))
    assert torch.equal(devices.sent(torch.ones(2), CPU), torch.ones(2))
    assert gpu.calls == before
