"""What an encoder that does not come with the harness must do, tried on a few samples before anything is trained."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import Values
from mcr_bench.bench.models.own.modules import OwnNet
from mcr_bench.bench.models.own.registered import require_made, require_registered, state_of
from mcr_bench.bench.models.own.trial import anywhere, blank, require_tensor, told, trial, what_is
from mcr_bench.bench.problem.facts import Modality

SOME, ONE = 3, 1  # samples: a few to train on, and the single one that may be left for a last batch


def check_net(cls: type[nn.Module], modality: Modality, width: int, values: Values) -> None:
    """UserError where an encoder cannot be made, or gives something else than features (B, width)."""
    with trial():
        anywhere(partial(_try, cls, modality, width, values))


def _try(cls: type[nn.Module], modality: Modality, width: int, values: Values) -> None:
    settings = "".join(f", {name}={value!r}" for name, value in values.items())
    with told(cls, f"cannot be made as {cls.__name__}({modality.shape}, {width}{settings})"):
        make = partial(cls, modality.shape, width, **values)
        encoder, another = OwnNet(make), make()
    _require_own(encoder.net, another)
    require_registered(encoder.net)
    before = state_of(encoder.net)
    for count in (SOME, ONE):
        encoder.train(count == SOME)
        features = _given(cls, encoder.forward, "forward", modality, count)
        require_tensor(features, (count, width), "forward", "(samples, width of the features)")
    if encoder.has("tokens"):
        _check_tokens(_given(cls, encoder.tokens, "tokens", modality, SOME), width)
    if encoder.has("stages"):
        _check_stages(_given(cls, encoder.stages, "stages", modality, SOME))
    require_made(encoder.net, before)


def _require_own(net: nn.Module, another: nn.Module) -> None:
    """UserError where two nets of a class share what is trained: a parameter belongs to one modality."""
    others = {id(p) for p in another.parameters()}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad and id(parameter) in others:
            raise UserError(
                f"its parameter '{name}' is shared by all nets of the class, but belongs to one modality. Make it in "
                "the constructor, anew for each"
            )


def _given(
    cls: type, method: Callable[[Tensor, Tensor | None], object], name: str, modality: Modality, count: int
) -> object:
    values = blank(count, modality)
    lengths = torch.full((count,), modality.shape[0]) if modality.padded else None
    with told(cls, f"{name} failed on samples {tuple(values.shape)}"):
        return method(values, lengths)


def _check_tokens(given: object, width: int) -> None:
    features, mask = given if isinstance(given, tuple | list) and len(given) == 2 else (given, None)
    steps = features.shape[1] if isinstance(features, Tensor) and features.ndim == 3 else "T"
    wanted = f"needed: features {(SOME, steps, width)}, (samples, T, width), and a mask {(SOME, steps)} of bool"
    if not isinstance(features, Tensor) or tuple(features.shape) != (SOME, steps, width):
        raise UserError(f"tokens gave {what_is(features)} as features; {wanted}")
    require_tensor(features, tuple(features.shape), "tokens", "")
    if not isinstance(mask, Tensor) or tuple(mask.shape) != (SOME, steps) or mask.dtype != torch.bool:
        raise UserError(f"tokens gave {what_is(mask)} as mask; {wanted}, True on what is real")


def _check_stages(given: object) -> None:
    for stage in given if isinstance(given, list | tuple) and given else [given]:
        if not isinstance(stage, Tensor) or stage.ndim < 2 or len(stage) != SOME:
            raise UserError(f"stages gave {what_is(stage)} among its outputs; needed: a list of tensors (samples, ...)")
