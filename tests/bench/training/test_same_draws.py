"""The same seed on the CPU and on a GPU: the same initial weights and batches, as they are drawn on the CPU."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from mcr_bench.bench.core import seeds
from mcr_bench.bench.runs.events import Job
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.training import loop
from mcr_bench.tests.support.cuda import pretend_gpus
from mcr_bench.tests.support.runs.planned import planned, save

FAR = torch.device("meta")  # in the place of a GPU: its tensors have no numbers, so that nothing can be drawn there
DRAWING = (
    "rand",
    "randn",
    "randperm",
    "randint",
    "normal",
    "normal_",
    "uniform_",
    "bernoulli",
    "random_",
    "trunc_normal_",
)
OVERRIDES = {"epochs": ["1"], "batch_size": ["7"], "encoder.width": ["8"], "model.width": ["6"]}


class Draws(TorchFunctionMode):
    """Notes every draw, and lets a GPU be `FAR`. here: what was drawn on the CPU; far: the names of other draws."""

    def __init__(self) -> None:
        super().__init__()
        self.here: list[Tensor] = []
        self.far: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*tree_map(_moved, args), **tree_map(_moved, kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in DRAWING and isinstance(made, Tensor):
            if made.device.type == "cpu":
                self.here.append(made.detach().clone())
            else:
                self.far.append(name)
        return made


def _moved(value: Any) -> Any:
    return FAR if isinstance(value, torch.device) and value.type == "cuda" else value


def _nothing(_batch: object) -> None:
    """A step that computes nothing."""


def _initialise(draws: Draws, initialise: Callable[[nn.Module, int], None], model: nn.Module, seed: int) -> None:
    """Forget the draws before, by which modules are made: every weight is drawn again."""
    draws.here.clear()
    initialise(model, seed)


def drawn(
    spec: RunSpec, device: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Draws, list[torch.device]]:
    """What is drawn from the initial weights of a run to the end of its first epoch, and where its model is then."""
    job = Job(spec, device, folder, {}, folder / "weights.pt")
    with Draws() as draws, monkeypatch.context() as patch:
        patch.setattr(seeds, "initialise", partial(_initialise, draws, seeds.initialise))
        run = loop.start(job)
        run.method.train_step = _nothing  # type: ignore[method-assign]  # on `FAR` nothing can be computed
        run.fit.epoch = 1
        loop.train_epoch(run)
    return draws, [leaf.device for leaf in tree_leaves(dict(run.fit.model.state_dict()))]


@pytest.mark.parametrize("method", ["joint", "ogm-ge", "mcr"])
@pytest.mark.parametrize("seed", [0, 5])
def test_weights_and_batches_are_drawn_on_the_cpu_alike(
    method: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, 1)
    monkeypatch.setattr(loop, "WATCHED", 1)
    spec = planned(save(tmp_path / "set.npz"), method, seeds=(seed,), set=OVERRIDES).runs[-1]
    near, at = drawn(spec, "cpu", tmp_path / "cpu", monkeypatch)
    far, there = drawn(spec, "cuda:0", tmp_path / "gpu", monkeypatch)
    assert {place.type for place in at} == {"cpu"}
    assert {place.type for place in there} == {"meta"}
    assert far.far == near.far  # probe heads are made without memory everywhere, as their weights are not drawn
    assert len(near.here) == len(far.here) > 4  # layers of two encoders and a head, and the order of the batches
    assert all(torch.equal(a, b) for a, b in zip(near.here, far.here, strict=True))
