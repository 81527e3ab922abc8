"""AMSS's released rule: no masks of the fusion head; momentum and weight decay move what is masked out."""

import pytest
import torch
from torch import Tensor

from mcr_bench.bench.testing.fits import NAMES, make_fit, step
from mcr_bench.methods.amss import Amss
from mcr_bench.methods.joint import Joint
from mcr_bench.tests.methods.golden.test_amss import FOUR, gradients, plain_shares, require_top_units


def released(names: tuple[str, ...]) -> dict[str, Tensor]:
    """Masks of the most important units on layers of encoders, by sorting; the head as in joint training."""
    shares, rule = plain_shares(Amss(), names, FOUR), {}
    for name, g in gradients(Joint(), names).items():
        rule[name] = g.clone()
        if name.startswith("encoders.") and g.ndim >= 2:
            importance = [row.square().sum().item() for row in g]
            count = -int(-shares[name.split(".")[1]] * len(g) // 1)
            for unit in sorted(range(len(g)), key=lambda i: -importance[i])[count:]:
                rule[name][unit] = 0.0
    return rule


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    flat = [torch.cat([rows[name].flatten() for name in other]) for rows in (one, other)]
    return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()


@pytest.mark.parametrize("count", [2, 3])
def test_official_is_the_released_rule_and_paper_is_not(count: int) -> None:
    names = NAMES[:count]
    rule = released(names)
    assert distance(gradients(Amss(variant="official", sample="top"), names), rule) < 1e-9
    assert distance(gradients(Amss(sample="top"), names), rule) > 1e-3


@pytest.mark.parametrize("count", [2, 3])
def test_the_defect_in_the_paper_s_rule_would_be_seen(count: int) -> None:
    require_top_units(Amss(sample="top"), NAMES[:count])
    with pytest.raises(AssertionError):
        require_top_units(Amss(variant="official", sample="top"), NAMES[:count])


LR, DECAY, MOMENTUM = 0.1, 0.05, 0.9
RATES = {
    "optimizer__name": "sgd",
    "optimizer__lr": LR,
    "optimizer__weight_decay": DECAY,
    "optimizer__momentum": MOMENTUM,
    "dtype": torch.float64,
    "clip_norm": 0.0,
}
State = dict[str, Tensor]


def steps_of(method: Amss, names: tuple[str, ...], count: int = 3) -> list[tuple[State, State, State]]:
    """Weights before, gradients, and weights after each of some steps of SGD with momentum and weight decay."""
    fit = make_fit(method, names, FOUR, **RATES)
    made = []
    for _ in range(count):
        before = {n: p.detach().clone() for n, p in fit.model.named_parameters()}
        step(method)
        grads = {n: p.grad.clone() for n, p in fit.model.named_parameters() if p.grad is not None}
        made.append((before, grads, {n: p.detach().clone() for n, p in fit.model.named_parameters()}))
    return made


def require_still(method: Amss, names: tuple[str, ...]) -> None:
    """In every layer of an encoder the half of the units that is drawn moves, and the other one does not."""
    for before, grads, after in steps_of(method, names):
        for name, g in grads.items():
            if name.startswith("encoders.") and g.ndim == 2:
                moved = (after[name] != before[name]).any(1)
                assert moved.sum() == len(g) // 2
                assert moved[(g != 0).any(1)].all()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("sample", ["adaptive", "top"])
def test_in_the_paper_s_rule_what_is_masked_out_does_not_move(count: int, sample: str) -> None:
    require_still(Amss(sample=sample, least=0.5, most=0.5), NAMES[:count])  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        require_still(Amss(sample=sample, least=0.5, most=0.5, variant="official"), NAMES[:count])  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 3])
def test_momentum_and_decay_move_all_in_the_released_rule(count: int) -> None:
    buffers: State = {}
    for before, grads, after in steps_of(Amss(sample="top", variant="official"), NAMES[:count]):
        for name, g in grads.items():
            decayed = g + DECAY * before[name]
            buffers[name] = MOMENTUM * buffers[name] + decayed if name in buffers else decayed
            torch.testing.assert_close(after[name], before[name] - LR * buffers[name], rtol=1e-9, atol=1e-12)
