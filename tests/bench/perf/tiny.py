"""Small networks in the place of those that `make perf` times, and a clock that is moved by hand."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mcr_bench.bench.perf import frames, measured, workloads
from mcr_bench.bench.perf.parts import waiting
from mcr_bench.bench.perf.workloads import Workload

TINY = {
    "images": Workload({"m1": (1, 9, 8), "m2": (3, 8, 8)}, 4, 8, "conv2d", 16),
    "vectors": Workload({"m1": (3,), "m2": (4,)}, 4, 8, "mlp", 8),
}


def tiny_workloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small networks on every type of device."""
    monkeypatch.setattr(workloads, "WORKLOADS", {"cpu": TINY, "cuda": TINY})


def tiny_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small frames in the cache from which waiting is measured."""
    monkeypatch.setattr(frames, "STORED", 12)
    for module in (frames, waiting):
        monkeypatch.setattr(module, "SIZE", 8)


def hand_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the hand of the clock that is read while parts are measured."""
    now = [0.0]

    def move(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    for module in (measured, waiting):
        monkeypatch.setattr(module, "time", clock)
    return move


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of everything that is timed."""
    monkeypatch.setattr(measured, "LEAST", 1)
    monkeypatch.setattr(measured, "MOST", 1)
