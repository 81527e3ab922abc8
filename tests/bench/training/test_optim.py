"""Optimisers and schedules, against torch's own schedulers and by hand."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler, StepLR

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import OptimizerSettings, ScheduleSettings
from mcr_bench.bench.training.optim import make_optimizer, rate_factor, set_rate


def optimizer_of(**values: object) -> torch.optim.Optimizer:
    return make_optimizer([{"params": [nn.Parameter(torch.ones(2))]}], build(OptimizerSettings, values))


def factors(steps: int, steps_per_epoch: int = 5, epochs: int = 6, **values: object) -> list[float]:
    schedule = build(ScheduleSettings, values)
    return [rate_factor(schedule, step, steps_per_epoch, epochs) for step in range(1, steps + 1)]


def stepped(scheduler: LRScheduler, steps: int, every: int = 1) -> list[float]:
    """The rate used at each step, the scheduler advanced after every `every` of them."""
    found = []
    for step in range(1, steps + 1):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        if step % every == 0:
            scheduler.step()
    return found


def plain() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)


def test_warm_restarts_are_torch_s_stepped_at_every_step() -> None:
    expected = stepped(CosineAnnealingWarmRestarts(plain(), T_0=4, T_mult=2), 40)
    found = factors(40, name="warm-restarts", first=4, factor=2)
    assert found == pytest.approx(expected, abs=1e-12)
    assert [step for step, f in enumerate(found, 1) if f == 1.0] == [1, 5, 13, 29]  # periods 4, 8, 16


@pytest.mark.parametrize(("warmup", "first", "factor"), [(3, 4, 2), (780, 4, 2), (7, 5, 1), (1, 2, 3)])
def test_warm_restarts_after_a_constant_phase_keep_the_global_step(warmup: int, first: int, factor: int) -> None:
    """Torch's scheduler given the number of finished steps, from the last step of the constant phase on."""
    scheduler = CosineAnnealingWarmRestarts(plain(), T_0=first, T_mult=factor)
    expected = [1.0] * warmup
    for finished in range(warmup, warmup + 60):
        scheduler.optimizer.step()
        scheduler.step(finished)
        expected.append(scheduler.get_last_lr()[0])
    found = factors(warmup + 60, name="warm-restarts", first=first, factor=factor, warmup=warmup)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_papers_schedule_enters_the_cosine_in_mid_cycle() -> None:
    """Step 781 is 272 steps into the cycle of 512 that began with step 509: (1 + cos(272/512 pi)) / 2 = .451."""
    found = factors(5000, name="warm-restarts", first=4, factor=2, warmup=780)
    assert found[:780] == [1.0] * 780
    assert found[780:784] == pytest.approx([0.451, 0.448, 0.445, 0.442], abs=5e-4)
    assert [step for step, factor in enumerate(found, 1) if step > 780 and factor == 1.0] == [1021, 2045, 4093]


def test_a_period_never_shrinks() -> None:
    assert factors(8, name="warm-restarts", first=2)[::2] == [1.0] * 4  # the default factor is that of `step`


def test_cosine_is_torch_s_over_all_steps() -> None:
    expected = stepped(CosineAnnealingLR(plain(), T_max=30), 30)
    assert factors(30, name="cosine") == pytest.approx(expected, abs=1e-12)
    assert factors(31, name="cosine")[-1] == pytest.approx(0, abs=1e-12)


def test_step_drops_after_whole_epochs() -> None:
    expected = stepped(StepLR(plain(), step_size=2, gamma=0.1), 30, every=5)
    assert factors(30, name="step", every=2, factor=0.1) == pytest.approx(expected, abs=1e-12)
    assert factors(30, name="step", every=2, factor=0)[9:11] == [1.0, 0.0]


def test_warm_up_rises_linearly_and_multiplies() -> None:
    assert factors(6, name="step", warmup=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    found = factors(3, name="cosine", warmup=2)
    assert found[0] == 0.5
    assert found[1] == pytest.approx(0.5 * (1 + math.cos(math.pi / 30)))
    assert found[2] == pytest.approx(0.5 * (1 + math.cos(math.pi * 2 / 30)))


def test_constant_stays_constant() -> None:
    assert factors(10, name="constant", warmup=5) == [1.0] * 10


def test_every_group_keeps_its_own_base_rate() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.5}, {"params": [nn.Parameter(torch.ones(1))]}]
    optimizer = make_optimizer(groups, build(OptimizerSettings, {"lr": 0.1}))
    for factor in (0.5, 0.2, 0.0, 1.0):  # from the base each time, not from the last rate
        set_rate(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == [0.5 * factor, 0.1 * factor]


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimisers_take_their_settings(name: str, kind: type) -> None:
    values = {"lr": 0.3, "weight_decay": 0.2, "momentum": 0.4, "beta1": 0.5, "beta2": 0.6, "eps": 0.01}
    optimizer = optimizer_of(name=name, **values)
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, kind)
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.2)
    if name == "sgd":
        assert (group["momentum"], group["dampening"], group["nesterov"]) == (0.4, 0, False)
    else:
        assert (group["betas"], group["eps"], group["amsgrad"]) == ((0.5, 0.6), 0.01, False)


def test_zero_weight_decay_is_not_ignored() -> None:
    assert optimizer_of(weight_decay="0").param_groups[0]["weight_decay"] == 0
    assert optimizer_of().param_groups[0]["weight_decay"] == 1e-4
