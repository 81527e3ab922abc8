"""Properties of parameters: the optimiser moves every one that matters, and trains those of the model alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Owner
from mcr_bench.bench.settings.declaration import Value, declared
from mcr_bench.bench.testing.card import Failed, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.epochs import EPOCHS, train_at
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.methods.base import Method

# Without decay nothing but a gradient moves a weight.
MOVING: Mapping[str, Value] = {"optimizer__lr": 0.05, "optimizer__weight_decay": 0.0}


@sound
def every_parameter_moves(trials: Trials) -> None:
    """Every parameter that requires a gradient and matters is moved by the optimiser."""
    if outside := _outside(train_at(trials.start(), 1)):
        raise Failed(
            f"{', '.join(outside)}: a parameter of the method, not of the model, so the optimiser never moves it",
            "Put it into model.extras in build(), as a module with reset_parameters. What is meant to stay, "
            "such as a teacher, is frozen: module.requires_grad_(False), or run without a gradient.",
        )
    still = _still(trials, {}, EPOCHS)
    if still:
        still &= _still(trials, _awake(trials.cls), EPOCHS)
    if still:  # modalities may take turns
        still &= _still(trials, {}, range(1, EPOCHS[-1] + 1))
    if still:
        raise Failed(f"{', '.join(sorted(still))}: the optimiser never moves it, though it requires a gradient")


def _outside(method: Method) -> list[str]:
    """Parameters that a loss reaches and the method keeps, alone or in modules, outside the model and the optimiser.

    Of a module that is run without a gradient, such as a teacher, none is meant to move.
    """
    known = {id(p) for p in method.fit.model.parameters()}
    known |= {id(p) for group in method.fit.optimizer.param_groups for p in group["params"]}
    held = ((name, parameter) for key, value in vars(method).items() for name, parameter in _parameters(key, value))
    return sorted(name for name, parameter in held if parameter.grad is not None and id(parameter) not in known)


def _parameters(name: str, value: object) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The parameters of an attribute, by name: of a parameter, a module, or a collection of these."""
    if isinstance(value, torch.nn.Parameter):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        yield from value.named_parameters(prefix=name)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _parameters(f"{name}.{key}", one)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _parameters(f"{name}.{number}", one)


def _awake(cls: type[Method]) -> dict[str, Value]:
    """Settings that are 0 by default, as 1: what belongs to a term of weight 0 learns nothing otherwise."""
    zeros = [key for key, one in declared(cls).items() if type(one.default) is float and one.default == 0]
    allowed = {}
    for key in zeros:
        try:
            allowed[key] = declared(cls)[key].parse(1.0, key)
        except Exception:
            continue
    return allowed


def _still(trials: Trials, values: dict[str, Value], epochs: Iterable[int]) -> set[str]:
    """Names of parameters that should have moved in some of these epochs and have not."""
    method = trials.start(replace(trials.usual, values=values, training=MOVING))
    model, first = method.fit.model, dict[str, Tensor]()
    moved: set[str] = set()
    for epoch in epochs:
        for name, parameter in model.named_parameters():
            first.setdefault(name, parameter.detach().clone())
        train_at(method, epoch)
        moved |= {name for name, p in model.named_parameters() if name in first and not torch.equal(first[name], p)}
    return {name for name in _meant(method) if name in first} - moved


def _meant(method: Method) -> Iterator[str]:
    """The parameters that must move: those that the prediction needs, and those that the method has added."""
    model = method.fit.model
    model.eval()
    own = [(name, p, owner) for name, p, owner in model.owned() if p.requires_grad]
    total = method.predict(model, whole_batch(method.fit).inputs).logits.square().sum()
    needed = torch.autograd.grad(total, [p for _, p, _ in own], allow_unused=True)
    for (name, _, owner), gradient in zip(own, needed, strict=True):
        if gradient is not None or _is_own(method, owner):
            yield name


def _is_own(method: Method, owner: Owner) -> bool:
    return owner.role == "method" or (owner.role == "own_head" and method.needs.own_heads)


@sound
def parameters_in_the_model(trials: Trials) -> None:
    """What the optimiser trains is a part of the model, so that checkpoints and best weights hold it."""
    method = train_at(trials.start(), 1)
    known = {id(p) for p in method.fit.model.parameters()}
    for group in method.fit.optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in known:
                raise Failed(f"the optimiser trains a parameter of shape {tuple(parameter.shape)} outside the model")


PROPERTIES = (
    Property(
        "every-parameter-moves",
        "the optimiser moves every parameter that requires a gradient",
        "Return it from parameter_groups, and let a loss reach it; one that is meant to stay is frozen in build(): "
        "requires_grad_(False).",
        every_parameter_moves,
    ),
    Property(
        "parameters-in-the-model",
        "the optimiser trains parameters of the model alone",
        "Put the module into model.extras in build(): checkpoints and best weights hold the model's parameters only.",
        parameters_in_the_model,
    ),
)
