"""Adam without PyTorch's bookkeeping makes the steps of PyTorch's, bit by bit, in every kind of group."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.training.adam import QuickAdam, QuickAdamW

PAIRS = [(Adam, QuickAdam), (AdamW, QuickAdamW)]
Kind = Callable[..., Optimizer]


def trained(kind: Kind, steps: int = 12, **options: object) -> tuple[list[nn.Parameter], Optimizer]:
    """Parameters after some steps in two groups, in which not every parameter has a gradient in every step."""
    draws = generator(0, "data", "adam")
    parameters = [nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((5, 3), (7,), (2, 2, 2), ())]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.02, "betas": (0.5, 0.9)}]
    optimizer = kind(groups, lr=0.01, weight_decay=0.1, **options)
    for step in range(steps):
        for place, p in enumerate(parameters):
            gradient = torch.randn(p.shape, generator=draws)
            p.grad = gradient if (step + place) % 4 else None
        optimizer.step()
    return parameters, optimizer


def equal(ones: list[nn.Parameter], others: list[nn.Parameter]) -> bool:
    """Whether all parameters are equal bit by bit."""
    return all(torch.equal(a, b) for a, b in zip(ones, others, strict=True))


@pytest.mark.parametrize("options", [{"fused": True}, {"fused": True, "amsgrad": True}, {"foreach": True}, {}])
@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_steps_are_those_of_pytorch(theirs: Kind, ours: Kind, options: dict[str, bool]) -> None:
    assert equal(trained(theirs, **options)[0], trained(ours, **options)[0])


@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_the_state_can_be_exchanged_with_pytorch(theirs: Kind, ours: Kind) -> None:
    (expected, source), (own, copy) = trained(theirs, fused=True), trained(ours, steps=0, fused=True)
    copy.load_state_dict(deepcopy(source.state_dict()))  # it would share its tensors
    with torch.no_grad():
        for p, q in zip(own, expected, strict=True):
            p.copy_(q)
    for parameters, optimizer in ((expected, source), (own, copy)):
        for p in parameters:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert equal(own, expected)


@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_a_group_may_choose_its_kind_of_weight_decay(theirs: Kind, ours: Kind, decoupled: bool) -> None:
    name = "decoupled_weight_decay"
    if name not in Adam([nn.Parameter(torch.zeros(1))]).defaults:
        pytest.skip("this version of PyTorch does not have the option")
    results = []
    for kind in (theirs, ours):
        p = nn.Parameter(torch.ones(3))
        optimizer = kind([{"params": [p], name: decoupled}], lr=0.1, weight_decay=0.5, fused=True)
        for _ in range(4):
            p.grad = torch.tensor([1.0, -2.0, 0.5])
            optimizer.step()
        results.append([p])
    assert equal(*results)


def test_hooks_of_steps_are_called() -> None:
    p, calls = nn.Parameter(torch.ones(3)), []
    optimizer = QuickAdam([p], lr=0.1, fused=True)
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    for _ in range(3):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert calls == ["before", "after"] * 3


def test_a_gradient_with_other_strides_meets_its_elements() -> None:
    first, second = (nn.Parameter(torch.zeros(2, 3)) for _ in range(2))
    gradient = torch.arange(6.0).reshape(3, 2).T
    for p, given in ((first, gradient), (second, gradient.contiguous())):
        optimizer = QuickAdam([p], lr=0.1, fused=True)
        for _ in range(2):
            p.grad = given.clone(memory_format=torch.preserve_format)
            optimizer.step()
    assert torch.equal(first, second)


def test_a_rate_that_is_a_tensor_and_a_closure_are_pytorch_s_business() -> None:
    def closed(optimizer: Optimizer, p: nn.Parameter) -> Tensor:
        def closure() -> Tensor:
            p.grad = torch.ones_like(p)
            return p.detach().sum()

        return optimizer.step(closure)

    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    for kind, parameter in ((Adam, p), (QuickAdam, q)):
        optimizer = kind([parameter], lr=torch.tensor(0.1), fused=True)
        assert float(closed(optimizer, parameter)) == 3.0
        closed(optimizer, parameter)
    assert torch.equal(p, q)
