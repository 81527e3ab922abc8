"""A pretended GPU: a strict torch.cuda, and tensors that stay on the CPU wherever they are sent.

`pretend_gpus` puts it in the place of torch.cuda. Strict: what `core.device` asks of it raises before `init`, for an
index that is not one of the GPUs, in another process than the one that called `init` or was declared as the worker, and
if it is not a part of `StrictCuda`. Further functions of torch.cuda are added to `StrictCuda`, each through `checked`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from mcr_bench.bench.core import device as devices

MIB = 2**20


class StrictCuda:
    """What `core.device` may call of torch.cuda, as a machine with `count` GPUs would answer.

    worker: the process that may use the GPUs; all others may only count them.
    calls: the names of the functions called, in their order, counting left out.
    free: the free memory of every GPU in bytes; tests set it.
    streams: those inside which the present work is queued, the present one last.
    order: what waits for what, in words, in the order in which it was asked for.
    pinned: the buffers in pinned memory that were made.
    """

    OutOfMemoryError = torch.OutOfMemoryError

    def __init__(self, count: int, worker: int | None = None) -> None:
        self.count, self.current = count, -1
        self.worker = os.getpid() if worker is None else worker
        self.initialised_in: int | None = None
        self.calls: list[str] = []
        self.free, self.total = [60 * 1024 * MIB] * count, 80 * 1024 * MIB
        self.default_generators = tuple(torch.Generator() for _ in range(count))
        self.streams = [PretendedStream(self, "default stream")]
        self.order: list[str] = []
        self.pinned = 0

    @property
    def initialised(self) -> bool:
        """Whether `init` was called in this process."""
        return self.initialised_in == os.getpid()

    @initialised.setter
    def initialised(self, value: bool) -> None:
        self.initialised_in = os.getpid() if value else None

    @property
    def synchronisations(self) -> int:
        """How often the host has waited for a GPU."""
        return self.calls.count("synchronize")

    def device_count(self) -> int:
        return self.count

    def is_available(self) -> bool:
        return self.count > 0

    def init(self) -> None:
        self.calls.append("init")
        self._require_worker("init")
        if not self.count:
            raise RuntimeError("No CUDA GPUs are available")
        if self.initialised_in not in (None, os.getpid()):
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        self.initialised = True

    def set_device(self, device: Any) -> None:
        self.current = self.checked("set_device", device)

    def current_device(self) -> int:
        return self.checked("current_device", None)

    def synchronize(self, device: Any = None) -> None:
        self.checked("synchronize", device)

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self.checked("reset_peak_memory_stats", device)

    def max_memory_allocated(self, device: Any = None) -> int:
        self.checked("max_memory_allocated", device)
        return 3 * MIB

    def max_memory_reserved(self, device: Any = None) -> int:
        self.checked("max_memory_reserved", device)
        return 5 * MIB

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return self.free[self.checked("mem_get_info", device)], self.total

    def empty_cache(self) -> None:
        self.checked("empty_cache", None)

    def set_sync_debug_mode(self, _mode: str) -> None:
        self.checked("set_sync_debug_mode", None)

    def make_graphed_callables(self, function: Callable[..., Any], _inputs: Any, **_options: Any) -> Any:
        self.checked("make_graphed_callables", None)
        return function

    def get_device_name(self, device: Any = None) -> str:
        return f"GPU {self.checked('get_device_name', device)}"

    def Stream(self, device: Any = None) -> "PretendedStream":
        return PretendedStream(self, f"stream {self.checked('Stream', device)}")

    def Event(self) -> "PretendedEvent":
        self.checked("Event", None)
        return PretendedEvent(self)

    def current_stream(self, device: Any = None) -> "PretendedStream":
        self.checked("current_stream", device)
        return self.streams[-1]

    @contextmanager
    def stream(self, stream: "PretendedStream") -> Iterator[None]:
        self.checked("stream", None)
        self.streams.append(stream)
        try:
            yield
        finally:
            self.streams.pop()

    def checked(self, name: str, device: Any) -> int:
        """Note the call of a function; the index that is meant, if CUDA would take it in this process now."""
        self.calls.append(name)
        self._require_worker(name)
        if not self.initialised:
            raise RuntimeError(f"torch.cuda.{name}: Invalid device argument: CUDA is not initialised")
        index = device if isinstance(device, int) else torch.device(device).index if device is not None else None
        index = self.current if index is None else index
        if not 0 <= index < self.count:
            raise RuntimeError(f"torch.cuda.{name}: invalid device ordinal {index}")
        return index

    def _require_worker(self, name: str) -> None:
        if os.getpid() != self.worker:
            raise RuntimeError(f"torch.cuda.{name}: called in a process that is not the worker")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AssertionError(f"torch.cuda.{name} is not a part of the stand-in, tests/support/cuda.py")


class PretendedStream:
    """A stream of a pretended GPU, which notes for what it waits."""

    def __init__(self, cuda: StrictCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: "PretendedStream") -> None:
        self.cuda.order.append(f"{self.name} waits for {other.name}")


class PretendedEvent:
    """An event of a pretended GPU; it may be waited for after it was recorded."""

    def __init__(self, cuda: StrictCuda) -> None:
        self.cuda = cuda
        self.recorded = False

    def record(self, stream: PretendedStream) -> None:
        self.cuda.order.append(f"an event on {stream.name}")
        self.recorded = True

    def synchronize(self) -> None:
        if not self.recorded:
            raise RuntimeError("an event was waited for that nothing has recorded")
        self.cuda.order.append("the host waits for an event")


class Torch:
    """The module torch, with another torch.cuda; memory is only said to be pinned, and all else is torch's own."""

    def __init__(self, cuda: StrictCuda) -> None:
        self.cuda = cuda

    def empty(self, *size: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory:
            self.cuda.checked("pinned memory", None)
            self.cuda.pinned += 1
        return torch.empty(*size, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int, worker: int | None = None) -> StrictCuda:
    """The torch.cuda that `core.device` sees on a machine with `count` GPUs. worker: as of `StrictCuda`.

    PyTorch itself keeps its own, but that it counts `count` GPUs too.
    """
    cuda = StrictCuda(count, worker)
    monkeypatch.setattr(devices, "torch", Torch(cuda))
    monkeypatch.setattr(torch.cuda, "device_count", cuda.device_count)
    return cuda


@contextmanager
def in_no_worker(cuda: StrictCuda) -> Iterator[None]:
    """Inside, this process is not the worker, as the parent of workers is not."""
    cuda.worker, before = -1, cuda.worker
    try:
        yield
    finally:
        cuda.worker = before


class StayOnCpu(TorchFunctionMode):
    """Inside, a tensor that is made on a GPU or sent to one lies on the CPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*tree_map(on_cpu, args), **tree_map(on_cpu, kwargs or {}))


def on_cpu(value: Any) -> Any:
    """The CPU in the place of a GPU; anything else as it is."""
    gpu = isinstance(value, torch.device) and value.type == "cuda"
    return torch.device("cpu") if gpu else value


def load_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.load`, which no mode reaches, onto the CPU."""
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, map_location, **k: load(path, on_cpu(map_location), **k))
