"""A class that somebody else wrote -> the declaration of an encoder or of a fusion head, its form checked."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import EncoderKind, FusionKind, Values
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.own.head_checks import check_head
from mcr_bench.bench.models.own.modules import OwnHead, OwnNet, reads
from mcr_bench.bench.models.own.net_checks import check_net
from mcr_bench.bench.models.own.signature import constructor_settings, positional, takes
from mcr_bench.bench.problem.facts import Modality

NET = ("shape", "width")
HEAD = ("modalities", "width", "outputs")
OF_A_NET = ("kind", "kind_digest")  # keys beside a net's settings in `encoder.MODALITY.key` and in a run's record
OF_A_HEAD = ("fusion", "fusion_digest", "width")
MOST_AXES = 8
T = TypeVar("T")


def net_kind(cls: type[nn.Module], name: str, digest: Callable[[type], str], origin: str) -> EncoderKind:
    """The declaration of an encoder's class; UserError, to be told after its file and name, where its form is wrong.

    cls: `Net(shape, width, **settings)`, shape without the batch axis; `forward(x, lengths=None)` -> (B, width).
    name: as in `encoder.kind`. digest: gives that of its behaviour. origin: where it is from.
    """
    settings = constructor_settings(cls, NET, OF_A_NET)
    _check_method(cls, "forward", "def forward(self, x, lengths=None)", least=1)
    for part in ("tokens", "stages"):
        if callable(getattr(cls, part, None)):
            _check_method(cls, part, f"def {part}(self, x, lengths=None)", least=1)
    axes, told = _axes(cls), takes(cls.forward, "lengths")
    padded = _declared(cls, "padded", bool, True)
    return EncoderKind(
        name=name,
        about=about(cls),
        make=partial(_made_net, cls),
        axes=axes,
        padded=axes if padded else (),
        settings=settings,
        tokens=callable(getattr(cls, "tokens", None)),
        stages=callable(getattr(cls, "stages", None)),
        extra=_declared(cls, "extra", str, ""),
        library=_declared(cls, "library", str, ""),
        digest=digest(cls),
        origin=origin,
        sees_padding=padded and not told and "padded" not in dir(cls),
        channels_last=getattr(cls, "channels_last", False) is True,
        examples=_examples(cls),
        waits=_declared(cls, "waits", str, ""),
        check=partial(check_net, cls),
    )


def head_kind(cls: type[nn.Module], name: str, digest: Callable[[type], str], origin: str) -> FusionKind:
    """The declaration of a fusion head's class; UserError, to be told after its file and name, for a wrong form.

    cls: `Head(modalities, width, outputs, **settings)`; `forward(features, tokens)` -> (B, outputs). name: as in
    `model.fusion`. digest: gives that of its behaviour. origin: where it is from.
    """
    if issubclass(cls, Fusion):
        raise UserError("it derives from the harness's own Fusion; derive it from torch.nn.Module, and return logits")
    settings = constructor_settings(cls, HEAD, OF_A_HEAD)
    _check_method(cls, "forward", "def forward(self, features, tokens)", least=1)
    additive = _declared(cls, "additive", bool, False)
    if additive and not callable(getattr(cls, "branches", None)):
        raise UserError(
            "it is `additive`, but has no `branches`; write def branches(self, features), which gives one tensor "
            "(B, outputs) per modality, or leave `additive` out"
        )
    return FusionKind(
        name=name,
        about=about(cls),
        make=partial(_made_head, cls),
        additive=additive,
        reads=reads(cls),
        settings=settings,
        at_least=_declared(cls, "at_least", int, 1),
        at_most=_declared(cls, "at_most", int, 99),
        ordered=_declared(cls, "ordered", bool, False),
        extra=_declared(cls, "extra", str, ""),
        library=_declared(cls, "library", str, ""),
        digest=digest(cls),
        origin=origin,
        waits=_declared(cls, "waits", str, ""),
        check=partial(check_head, cls),
    )


def about(cls: type) -> str:
    """The first line of a class's own docstring."""
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    return text.splitlines()[0] if text else ""


def _made_net(cls: type[nn.Module], modality: Modality, width: int, values: Values) -> nn.Module:
    return OwnNet(partial(cls, modality.shape, width, **values))


def _made_head(cls: type[nn.Module], modalities: list[str], width: int, outputs: int, values: Values) -> Fusion:
    return OwnHead(partial(cls, list(modalities), width, outputs, **values), modalities, width)


def _declared(cls: type, name: str, kind: type[T], default: T) -> T:
    value = getattr(cls, name, default)
    if not isinstance(value, kind):
        raise UserError(f"{name} = {value!r}: not allowed. Allowed: a {kind.__name__}, such as {default!r}")
    return value


def _axes(cls: type) -> tuple[int, ...]:
    """The numbers of axes of a sample that a net declares to take; any where it declares none."""
    value = getattr(cls, "axes", tuple(range(1, MOST_AXES + 1)))
    axes = (value,) if isinstance(value, int) else value
    if not isinstance(axes, tuple | list) or not axes or not all(type(n) is int and n > 0 for n in axes):
        raise UserError(
            f"axes = {value!r}: not allowed. Allowed: the numbers of axes of one sample that it takes, as (2,) for "
            "sequences (T, C)"
        )
    return tuple(axes)


def _examples(cls: type) -> tuple[tuple[int, ...], ...]:
    """The shapes of samples that a net declares to be checked on; () where it declares none."""
    value = getattr(cls, "examples", ())
    shapes = [shape for shape in value if isinstance(shape, tuple)] if isinstance(value, tuple | list) else []
    sizes = [size for shape in shapes for size in shape]
    if not isinstance(value, tuple | list) or len(shapes) < len(value) or not all(type(n) is int for n in sizes):
        raise UserError(
            f"examples = {value!r}: not allowed. Allowed: shapes of samples to check it on, as ((1, 64, 64),)"
        )
    return tuple(shapes)


def _check_method(cls: type[nn.Module], name: str, example: str, least: int) -> None:
    function = getattr(cls, name)
    if not inspect.isfunction(inspect.unwrap(function)) or name not in _defined(cls):
        raise UserError(f"it has no method `{name}`; write {example}")
    gathers = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())
    if len(positional(function)) < least and not gathers:
        raise UserError(f"its {name}{inspect.signature(function)} takes no input; write {example}")


def _defined(cls: type[nn.Module]) -> set[str]:
    """What the class and those that it derives from define, below `nn.Module`."""
    own = cls.__mro__[: cls.__mro__.index(nn.Module)]
    return {name for base in own for name in vars(base)}
