"""Names of encoders and fusion heads -> their declarations: those of the harness, of packages, and of files.

A package brings its own through the entry points `mcr_bench.encoders` and `mcr_bench.fusions`; a file is named as
`./my_net.py:Net`. What such a net computes is part of a run's key, by the digest of its class.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from torch import nn

from mcr_bench.bench.catalog.offered import Offered, loaded, offered
from mcr_bench.bench.catalog.user_classes import class_in, packaged, place_of
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.declared import Encoder, EncoderKind, FusionKind, Head
from mcr_bench.bench.models.kinds import encoder_kinds, fusion_kinds
from mcr_bench.bench.models.own.kinds import head_kind, net_kind
from mcr_bench.bench.settings.declaration import Value

ENCODERS, FUSIONS = "mcr_bench.encoders", "mcr_bench.fusions"
NET, HEAD = "./my_net.py:Net", "./my_head.py:Head"
Values = Mapping[str, Value]
K = TypeVar("K", EncoderKind, FusionKind)
_nets: dict[tuple[type[nn.Module], str], EncoderKind] = {}
_heads: dict[tuple[type[nn.Module], str], FusionKind] = {}


def encoder_names() -> list[str]:
    """Every registered encoder; imports no package of somebody else's."""
    return sorted({*encoder_kinds(), *_offered(ENCODERS)})


def fusion_names() -> list[str]:
    """Every registered fusion head; imports no package of somebody else's."""
    return sorted({*fusion_kinds(), *_offered(FUSIONS)})


def encoders() -> Offered[EncoderKind]:
    """Every registered encoder by its name, and which of them cannot be imported or has a wrong form."""
    return offered(encoder_names(), encoder)


def fusions() -> Offered[FusionKind]:
    """Every registered fusion head by its name, and which of them cannot be imported or has a wrong form."""
    return offered(fusion_names(), fusion)


def encoder(name: str) -> EncoderKind:
    """The encoder of that name, or the user's own net; UserError where there is none, or its form is wrong."""
    if name in encoder_kinds():
        return encoder_kinds()[name]
    if place_of(name):
        return _net(class_in(name, nn.Module, "encoder", NET), name)
    if (cls := packaged(name)) is not None:
        return _net(_module(cls, name), name)
    return _in_package(ENCODERS, name, _net, unknown("encoder", name, [*encoder_names(), NET]))


def fusion(name: str) -> FusionKind:
    """The fusion head of that name, or the user's own; UserError where there is none, or its form is wrong."""
    if name in fusion_kinds():
        return fusion_kinds()[name]
    if place_of(name):
        return _head(class_in(name, nn.Module, "fusion head", HEAD), name)
    if (cls := packaged(name)) is not None:
        return _head(_module(cls, name), name)
    return _in_package(FUSIONS, name, _head, unknown("fusion", name, [*fusion_names(), HEAD]))


def encoder_class(cls: type[nn.Module], name: str) -> EncoderKind:
    """The declaration of an encoder that `PACKAGE:CLASS` names; UserError where its form is wrong."""
    return _net(cls, name)


def fusion_class(cls: type[nn.Module], name: str) -> FusionKind:
    """The declaration of a fusion head that `PACKAGE:CLASS` names; UserError where its form is wrong."""
    return _head(cls, name)


def encoder_of(values: Values) -> Encoder:
    """An encoder from the settings of a run: `kind`, `kind_digest` where it is not the harness's, and its own ones."""
    kind = encoder(str(values["kind"]))
    _require_unchanged(f"encoder.kind={kind.name}", kind.digest, values.get("kind_digest", ""))
    return Encoder(kind, {k: v for k, v in values.items() if k not in ("kind", "kind_digest")})


def head_of(values: Values) -> Head:
    """A fusion head from the settings of a run: `fusion`, `width`, `fusion_digest`, and its own ones."""
    kind = fusion(str(values["fusion"]))
    _require_unchanged(f"model.fusion={kind.name}", kind.digest, values.get("fusion_digest", ""))
    rest = {k: v for k, v in values.items() if k not in ("fusion", "fusion_digest", "width")}
    return Head(kind, int(values["width"]), rest)


def _require_unchanged(what: str, digest: str, planned: Value) -> None:
    if digest != planned:
        raise UserError(f"{what}: its file has changed since the run was planned. Start the command again.")


def _net(cls: type[nn.Module], name: str) -> EncoderKind:
    if (cls, name) not in _nets:
        _nets[cls, name] = _declared_net(cls, *_named(cls, name))
    return _nets[cls, name]


def _head(cls: type[nn.Module], name: str) -> FusionKind:
    if (cls, name) not in _heads:
        _heads[cls, name] = _declared_head(cls, *_named(cls, name))
    return _heads[cls, name]


def _module(cls: type, name: str) -> type[nn.Module]:
    if not issubclass(cls, nn.Module):
        raise UserError(f"'{name}' is not a torch.nn.Module. Name a class that derives from torch.nn.Module.")
    return cls


def _declared_net(cls: type[nn.Module], with_class: str, origin: str) -> EncoderKind:
    try:
        return net_kind(cls, with_class, behaviour_digest, origin)
    except UserError as error:
        raise UserError(f"encoder.kind={with_class}: {error}. The contract is Net(shape, width, **settings).") from None


def _declared_head(cls: type[nn.Module], with_class: str, origin: str) -> FusionKind:
    try:
        return head_kind(cls, with_class, behaviour_digest, origin)
    except UserError as error:
        raise UserError(
            f"model.fusion={with_class}: {error}. The contract is Head(modalities, width, outputs, **settings)."
        ) from None


def _named(cls: type, name: str) -> tuple[str, str]:
    """The name with its class, and where the class is from."""
    if place_of(name) is None:
        return name, f"{cls.__module__}:{cls.__qualname__}"
    file = name if name.endswith(".py") else name.rpartition(":")[0]
    return f"{file}:{cls.__name__}", file


def _offered(group: str) -> list[str]:
    return [point.name for point in entry_points(group=group)]


def _in_package(group: str, name: str, declare: Callable[[type[nn.Module], str], K], otherwise: UserError) -> K:
    """What a package offers under a name."""
    point = next((point for point in entry_points(group=group) if point.name == name), None)
    if point is None:
        raise otherwise
    cls = loaded(point)
    if not inspect.isclass(cls) or not issubclass(cls, nn.Module):
        raise UserError(f"'{name}' is {point.value}, which is not a torch.nn.Module. Name a class there.")
    return declare(cls, name)
