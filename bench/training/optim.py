"""Optimisers, and learning-rate schedules as pure functions of the global step: a resume needs no state of them."""

import math

from torch.optim import SGD, Adam, AdamW, Optimizer

from mcr_bench.bench.fit.returns import Groups
from mcr_bench.bench.settings.training import OptimizerSettings, ScheduleSettings


def make_optimizer(groups: Groups, settings: OptimizerSettings) -> Optimizer:
    """The optimiser over the method's parameter groups; a group's own `lr` is kept as the base of its schedule."""
    lr, decay = settings.lr, settings.weight_decay
    if settings.name == "sgd":
        optimizer: Optimizer = SGD(groups, lr=lr, momentum=settings.momentum, weight_decay=decay)
    else:
        kind, betas = Adam if settings.name == "adam" else AdamW, (settings.beta1, settings.beta2)
        optimizer = kind(groups, lr=lr, betas=betas, eps=settings.eps, weight_decay=decay)
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def set_rate(optimizer: Optimizer, factor: float) -> None:
    """Set every group's learning rate to its base times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def rate_factor(settings: ScheduleSettings, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate at global step `step` (from 1) as a fraction of its base."""
    if settings.name == "constant":
        return 1.0
    if settings.name == "warm-restarts":
        growth = max(1, round(settings.factor))
        return 1.0 if step <= settings.warmup else _warm_restarts(step - 1, settings.first, growth)
    warm = min(1.0, step / settings.warmup) if settings.warmup else 1.0
    if settings.name == "step":
        drops: float = settings.factor ** ((step - 1) // steps_per_epoch // settings.every)
        return warm * drops
    return warm * _cosine((step - 1) / max(1, steps_per_epoch * epochs))


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _warm_restarts(clock: int, period: int, growth: int) -> float:
    """Cosine with warm restarts after `clock` steps since the run's first one, the constant phase counted too.

    As in the MCR code, which hands torch's CosineAnnealingWarmRestarts the global step: the constant phase hides the
    first cycles and ends in the middle of one.
    """
    while clock >= period:
        clock, period = clock - period, period * growth
    return _cosine(clock / period)
