"""Fused optimisers: equal to plain ones within rounding, whatever strides gradients and stored states have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import OptimizerSettings
from mcr_bench.bench.testing.fits import make_fit, step, whole_batch
from mcr_bench.bench.training.checkpoints import read_checkpoint, write_checkpoint
from mcr_bench.bench.training.optim import is_dense, is_fused, make_optimizer
from mcr_bench.methods.joint import Joint

STEPS = 200
PLAIN: dict[str, Any] = {"adam": Adam, "adamw": AdamW}
OPTIONS: dict[str, Any] = {"lr": 1e-3, "weight_decay": 1e-4, "betas": (0.9, 0.999), "eps": 1e-7}


def parameters(seed: int = 0) -> list[nn.Parameter]:
    """Of several shapes, one in another layout."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((3, 5), (7,), (1,), (2, 3, 3, 3))
    tensors = [torch.randn(*shape, generator=draw) for shape in shapes]
    return [nn.Parameter(t) for t in (*tensors[:-1], tensors[-1].contiguous(memory_format=torch.channels_last))]


def gradients(step: int, params: list[nn.Parameter]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1000 + step)
    return [torch.randn(p.shape, generator=draw) for p in params]


def walk(optimizer: Optimizer, params: list[nn.Parameter], steps: int = STEPS) -> None:
    for number in range(steps):
        for p, g in zip(params, gradients(number, params), strict=True):
            p.grad = g  # contiguous, as a method may assign it, and so not laid out as the last parameter
        optimizer.step()


def largest_difference(mine: list[nn.Parameter], theirs: list[nn.Parameter]) -> float:
    return max(float(((a - b).abs().max() / b.abs().max()).detach()) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_fused_adam_is_adam_within_a_millionth(name: str) -> None:
    mine, theirs = parameters(), parameters()
    optimizer = make_optimizer([{"params": mine}], build(OptimizerSettings, {"name": name}))
    plain = PLAIN[name](theirs, **OPTIONS, foreach=False, fused=False)
    assert is_fused(optimizer)
    assert not is_fused(plain)
    walk(optimizer, mine, 1)
    walk(plain, theirs, 1)
    assert largest_difference(mine, theirs) < 3e-7
    walk(optimizer, mine)
    walk(plain, theirs)
    assert largest_difference(mine, theirs) < 1e-6


def test_sgd_on_the_cpu_keeps_its_last_digits() -> None:
    mine, theirs = parameters(), parameters()
    optimizer = make_optimizer([{"params": mine}], build(OptimizerSettings, {"name": "sgd"}))
    plain = SGD(theirs, lr=1e-3, weight_decay=1e-4, momentum=0.9, foreach=False)
    walk(optimizer, mine)
    walk(plain, theirs)
    assert not is_fused(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("own", [{"foreach": True}, {"fused": False}, {"capturable": False}])
def test_a_group_may_choose_its_implementation(own: dict[str, bool]) -> None:
    groups = [{"params": parameters(0)[:2], **own}, {"params": parameters(1)[:2]}]
    optimizer = make_optimizer(groups, build(OptimizerSettings, {}))
    assert [bool(group["fused"]) for group in optimizer.param_groups] == [False, True]
    assert not is_fused(optimizer)


def test_what_fused_kernels_cannot_update_is_updated_plainly() -> None:
    with_holes = nn.Parameter(torch.arange(12.0).view(3, 4)[:, ::2])
    complex_ones = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    for odd in (with_holes, complex_ones):
        optimizer = make_optimizer([{"params": [odd]}], build(OptimizerSettings, {"lr": 0.5, "weight_decay": 0.0}))
        assert not is_fused(optimizer)
        before = odd.detach().clone()
        odd.grad = torch.ones_like(odd)
        optimizer.step()
        assert torch.allclose(before - 0.5, odd.detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("x", "dense"),
    [
        (torch.zeros(()), True),
        (torch.zeros(0, 3), True),
        (torch.zeros(2, 3, 4).permute(2, 0, 1), True),
        (torch.zeros(1, 3, 2, 2).contiguous(memory_format=torch.channels_last), True),
        (torch.zeros(4, 1).expand(4, 3), False),
        (torch.zeros(4, 4)[:, :3], False),
        (torch.zeros(6)[::2], False),
    ],
)
def test_what_fills_its_memory(x: Tensor, dense: bool) -> None:
    assert is_dense(x) is dense


class Assigning(Joint):
    """Assigns gradients of other strides after the backward pass, as a method may."""

    name = "assigning"

    def after_backward(self, outputs: Any, batch: Any) -> None:
        for p in self.fit.model.parameters():
            if p.grad is not None and p.ndim == 2:
                p.grad = p.grad.T.contiguous().T


def test_gradients_that_a_method_assigns_reach_the_right_elements() -> None:
    plain, assigning = Joint(), Assigning()
    fits = [make_fit(plain), make_fit(assigning)]
    for method in (plain, assigning, plain, assigning):
        step(method)
    mine, theirs = (fit.model.state_dict() for fit in fits)
    assert all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("saved_last", [False, True])
def test_a_checkpoint_of_one_layout_goes_on_in_the_other(name: str, saved_last: bool, tmp_path: Path) -> None:
    def fit_of(last: bool) -> tuple[Joint, Any]:
        method = Joint()
        fit = make_fit(method, optimizer__name=name)
        fit.model.encoders["audio"].add_module("images", nn.Conv2d(3, 4, 3))
        torch.manual_seed(0)
        for p in fit.model.encoders["audio"].images.parameters():
            nn.init.normal_(p)
        if last:
            fit.model.encoders["audio"].images.to(memory_format=torch.channels_last)
        fit.optimizer = make_optimizer(method.parameter_groups(fit.model), fit.settings.optimizer)
        return method, fit

    def train(method: Joint, fit: Any, steps: int) -> None:
        images, x = (
            fit.model.encoders["audio"].images,
            torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(7)),
        )
        for _ in range(steps):
            fit.zero_grad()
            loss = method.loss(method.forward(whole_batch(fit)), whole_batch(fit))["fused"] + images(x).square().mean()
            loss.backward()
            fit.optimizer.step()

    (first, saved), (second, going_on), (third, calm) = fit_of(saved_last), fit_of(not saved_last), fit_of(saved_last)
    train(first, saved, 3)
    write_checkpoint(tmp_path, saved, first, None, {})
    read_checkpoint(tmp_path, going_on, second, None)
    train(second, going_on, 3)
    train(third, calm, 6)
    for p in going_on.model.encoders["audio"].images.parameters():
        state = going_on.optimizer.state[p]
        assert all(s.stride() == p.stride() for key, s in state.items() if key != "step" and s is not None)
        assert "step" not in state or (state["step"].device == p.device and float(state["step"]) == 6)
    mine, theirs = going_on.model.state_dict(), calm.model.state_dict()
    assert all(torch.allclose(mine[k], theirs[k], rtol=1e-5, atol=1e-6) for k in mine)
