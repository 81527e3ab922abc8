"""A pretended GPU: a strict torch.cuda, and tensors that stay on the CPU wherever they are sent.

Strict: everything but counting raises before `init`, and for an index that is not one of the GPUs, as CUDA does.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


class StrictCuda:
    """What `core.device` may call of torch.cuda. calls: the names of the functions called, in their order."""

    def __init__(self, count: int) -> None:
        self.count, self.initialised, self.current = count, False, -1
        self.calls: list[str] = []
        self.default_generators = tuple(torch.Generator() for _ in range(count))

    def device_count(self) -> int:
        return self.count

    def init(self) -> None:
        self.calls.append("init")
        if not self.count:
            raise RuntimeError("No CUDA GPUs are available")
        self.initialised = True

    def set_device(self, device: Any) -> None:
        self.current = self._checked("set_device", device)

    def synchronize(self, device: Any = None) -> None:
        self._checked("synchronize", device)

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self._checked("reset_peak_memory_stats", device)

    def max_memory_allocated(self, device: Any = None) -> int:
        self._checked("max_memory_allocated", device)
        return 3 * 2**20

    def get_device_name(self, device: Any = None) -> str:
        return f"GPU {self._checked('get_device_name', device)}"

    def _checked(self, name: str, device: Any) -> int:
        """The index that is meant, if CUDA would take it."""
        self.calls.append(name)
        if not self.initialised:
            raise RuntimeError(f"torch.cuda.{name}: Invalid device argument: CUDA is not initialised")
        index = device if isinstance(device, int) else torch.device(device).index if device is not None else None
        index = self.current if index is None else index
        if not 0 <= index < self.count:
            raise RuntimeError(f"torch.cuda.{name}: invalid device ordinal {index}")
        return index


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> StrictCuda:
    """torch.cuda of a machine with `count` GPUs, of which nothing but the functions of `StrictCuda` may be used."""
    cuda = StrictCuda(count)
    names = [name for name in dir(StrictCuda) if not name.startswith("_")]
    for name in (*names, "default_generators"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    return cuda


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
