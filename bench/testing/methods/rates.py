"""The property of learning rates: what a method writes is what a step uses."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.optim import Optimizer

from mcr_bench.bench.testing.card import Failed, Property
from mcr_bench.bench.testing.trials.epochs import train
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.trials import Trials

EPOCHS = (1, 25)  # also a late one, as some methods begin to act at an epoch


@sound
def rates_are_used(trials: Trials) -> None:
    """No hook sets a group's `lr` to a value that no step uses, as the schedule sets it before every step."""
    if hook := overwritten(trials):
        raise Failed(f"{hook}() sets the lr of a group of the optimiser, and the schedule overwrites it before a step")


def overwritten(trials: Trials) -> str:
    """The first hook that sets a group's `lr` to what no step uses; '' if there is none."""
    method, seen, used = trials.start(), list[str](), list[float]()
    optimizer = method.fit.optimizer

    def note(*_: object) -> None:
        used[:] = _rates(optimizer)

    optimizer.register_step_pre_hook(note)

    @contextmanager
    def around(hook: str) -> Iterator[None]:
        before = _rates(optimizer)
        used.clear()
        yield
        now = _rates(optimizer)[: len(before)]  # groups may have been added
        if now not in (before, used[: len(before)]):
            seen.append(hook)

    for epoch in EPOCHS:
        method.fit.epoch = epoch - 1
        train(method, 1, around)
    return seen[0] if seen else ""


def _rates(optimizer: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


PROPERTIES = (
    Property(
        "learning-rates",
        "a learning rate that it sets is the one that a step uses",
        "The schedule sets every group's lr to group['base_lr'] times its factor before each step: write "
        "group['base_lr'], or give the group its lr in parameter_groups().",
        rates_are_used,
    ),
)
