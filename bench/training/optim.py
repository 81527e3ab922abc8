"""Optimisers, and learning-rate schedules as pure functions of the global step, which need no state to be resumed."""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.returns import Groups
from mcr_bench.bench.settings.training import OptimizerSettings, ScheduleSettings
from mcr_bench.bench.training.adam import QuickAdam, QuickAdamW
from mcr_bench.bench.training.strides import is_dense, lay_out_gradients

OPTIONS = ("lr", "weight_decay", "momentum", "dampening", "nesterov", "betas", "eps", "amsgrad", "maximize")
MEANT = {"learning_rate", "rate", "base_lr", "decay", "beta1", "beta2"}  # not alike, and yet meant for one of them
NEAR = 0.8  # as difflib measures how much names are alike
IMPLEMENTATIONS = {"foreach", "fused", "differentiable", "capturable"}  # options of an optimiser that exclude others


def make_optimizer(groups: Groups, settings: OptimizerSettings) -> Optimizer:
    """The optimiser of the method's parameter groups. The schedule multiplies a group's own `lr` where it has one.

    A group is updated by PyTorch's fused kernels where that is faster, unless it chooses an implementation itself.
    UserError for an option of a group that this optimiser does not know: PyTorch keeps it, and trains without it.
    """
    lr, decay, given = settings.lr, settings.weight_decay, dict.fromkeys(key for group in groups for key in group)
    for group in groups:
        _choose(group, settings.name)
    if settings.name == "sgd":
        optimizer: Optimizer = SGD(groups, lr=lr, weight_decay=decay, momentum=settings.momentum)
        optimizer.register_step_pre_hook(lambda sgd, *_: lay_out_gradients(sgd.param_groups))
    else:
        kind = QuickAdam if settings.name == "adam" else QuickAdamW
        betas = (settings.beta1, settings.beta2)
        optimizer = kind(groups, lr=lr, weight_decay=decay, betas=betas, eps=settings.eps)
    if mistaken := _mistaken(given, optimizer, settings.name):
        raise UserError(f"parameter_groups() returned a group with the {mistaken}. Rename it, or leave it out.")
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def add_group(optimizer: Optimizer, group: dict[str, Any], name: str) -> None:
    """Add a parameter group in mid-run, at the present place of the schedule, to the optimiser of that name."""
    for option in group:
        if option != "params" and option not in optimizer.defaults:
            raise ValueError(f"unknown option '{option}', known are {', '.join(optimizer.defaults)}")
    factor = next((g["lr"] / g["base_lr"] for g in optimizer.param_groups if g["base_lr"]), 1.0)
    _choose(group, name)
    optimizer.add_param_group(group)
    added = optimizer.param_groups[-1]
    added["base_lr"] = added["lr"]
    added["lr"] = added["base_lr"] * factor


def _mistaken(options: Iterable[str], optimizer: Optimizer, name: str) -> str:
    """An option of a group that is meant for an optimiser, and that this one does not know; '' where there is none.

    A group may hold any other key, for those who read it, such as the modality of its parameters.
    """
    for option in options:
        meant = option.lower() in MEANT or get_close_matches(option.lower(), OPTIONS, 1, NEAR)
        if meant and option not in optimizer.defaults:
            return f"option '{option}', which {name} does not know. Known are {', '.join(optimizer.defaults)}"
    return ""


def _choose(group: dict[str, Any], name: str) -> None:
    """Choose the implementation of a group's step, unless it chooses one itself."""
    if IMPLEMENTATIONS.isdisjoint(group) and _fused(group["params"], name):
        group["fused"] = True


def is_fused(optimizer: Optimizer) -> bool:
    """Whether all parameters are updated by fused kernels."""
    return all(group.get("fused") for group in optimizer.param_groups)


def _fused(params: Iterable[nn.Parameter], name: str) -> bool:
    """Whether a group's parameters shall be updated by fused kernels.

    On a GPU these are the fastest for every optimiser. On the CPU they take a quarter off a step of a small network
    with Adam, but little with SGD, which therefore keeps the last digits of the plain loop.
    """
    devices = {p.device.type for p in params}
    usable = all(p.is_floating_point() and is_dense(p) for p in params)
    return usable and (devices == {"cuda"} or (devices == {"cpu"} and name != "sgd"))


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times the rate that it was made with."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def rate_factor(
    settings: ScheduleSettings, step: int, steps_per_epoch: int, epochs: int, place: int | None = None
) -> float:
    """The learning rate at the global step `step`, counted from 1, as a multiple of the optimiser's rate.

    place: the step that it would be if all epochs had as many steps as this one; by default it is `step`. What a
    schedule counts in epochs follows it, so that epochs of different lengths are epochs all the same.

    >>> rate_factor(ScheduleSettings(name="step", every=1, factor=0.5), step=5, steps_per_epoch=2, epochs=3)
    0.25
    """
    place = step if place is None else place
    if settings.name == "constant":
        return 1.0
    if settings.name == "warm-restarts":
        growth = max(1, round(settings.factor))
        return 1.0 if step <= settings.warmup else _warm_restarts(step - 1, settings.first, growth)
    warm = min(1.0, step / settings.warmup) if settings.warmup else 1.0
    if settings.name == "step":
        return warm * _power(settings.factor, (place - 1) // steps_per_epoch // settings.every)
    return warm * _cosine((place - 1) / max(1, steps_per_epoch * epochs))


def _power(factor: float, exponent: int) -> float:
    """factor^exponent, or an infinity: then training diverges, and says so."""
    try:
        power: float = factor**exponent
    except OverflowError:
        return math.inf
    return power


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _warm_restarts(clock: int, period: int, growth: int) -> float:
    """The cosine with warm restarts, `clock` steps after the run's first one, the constant phase included.

    The MCR code gives torch's CosineAnnealingWarmRestarts the global step: the first cycles pass during the constant
    phase, which ends in the middle of a cycle.
    """
    if growth == 1:
        return _cosine(clock % period / period)
    while clock >= period:
        clock, period = clock - period, period * growth
    return _cosine(clock / period)
