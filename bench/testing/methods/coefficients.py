"""Properties of coefficients: they carry no gradient, and those of every modality are logged."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.trials.epochs import step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.trials import Trials

PREFIX = "coefficient/"


@sound
def without_gradient(trials: Trials) -> None:
    """What is logged as a coefficient, or scales a gradient, is a number for the loss and not a function of it."""
    live: list[str] = []
    method = trials.start(prepare=lambda fit: _listen(fit, live))
    step(method)
    tied = [name for name, p in method.fit.model.named_parameters() if p.grad is not None and p.grad.requires_grad]
    if live:
        raise Failed(f"{live[0]} has a gradient of its own: it is trained, not computed")
    if tied:
        raise Failed(f"the gradient of {tied[0]} has a gradient of its own, from what it was multiplied with")


def _listen(fit: Fit, live: list[str]) -> None:
    """Note coefficients with a gradient, as they are logged or used."""
    log, log_each, scale = fit.log, fit.log_each, fit.scale

    def note(name: str, value: object) -> None:
        if name.startswith(PREFIX) and isinstance(value, Tensor) and value.requires_grad:
            live.append(name)

    def logged(name: str, value: Tensor | float) -> None:
        note(name, value)
        log(name, value)

    def logged_each(names: Sequence[str], values: Tensor) -> None:
        note(names[0], values)
        log_each(names, values)

    def scaled(parameters: Iterable[torch.nn.Parameter], coefficient: Tensor | float, name: str) -> None:
        note(PREFIX + name, coefficient)
        scale(parameters, coefficient, name)

    vars(fit).update(log=logged, log_each=logged_each, scale=scaled)


@sound
def logged(trials: Trials) -> None:
    """A method that scales gradients logs the coefficient of every modality."""
    if not trials.cls.scales_gradients:
        raise NotApplicable("it does not declare scales_gradients")
    for count in trials.working(2, 3):
        method = trials.start(trials.with_count(count))
        step(method)
        names = method.fit.meters.means()
        lacking = [m for m in method.fit.model.modalities if PREFIX + m not in names]
        if lacking:
            raise Failed(f"no {PREFIX}{lacking[0]} is logged with {count} modalities")


PROPERTIES = (
    Property(
        "coefficients-without-gradient",
        "coefficients carry no gradient",
        "Compute them under torch.no_grad(), or detach() what they are computed from.",
        without_gradient,
    ),
    Property(
        "coefficients-logged",
        "a method that scales gradients logs the coefficient of every modality",
        "fit.scale(parameters, k, m) logs it; otherwise fit.log(f'coefficient/{m}', k), in every step.",
        logged,
    ),
)
