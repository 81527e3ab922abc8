"""The properties of encoders, and how an encoder that a target names is opened."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import nn

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.catalog.user_classes import packaged, place_of
from mcr_bench.bench.models.declared import EncoderKind, FusionKind, Values
from mcr_bench.bench.testing.card import Kit, Opened, Property
from mcr_bench.bench.testing.nets import encoder_checks
from mcr_bench.bench.testing.nets.cases import Cases, NetCase, NetProperty
from mcr_bench.bench.testing.nets.encoder_case import EncoderCase, encoder_cases
from mcr_bench.bench.testing.nets.operations import operations
from mcr_bench.bench.testing.nets.tables import SHARED, USABLE

OWN: tuple[NetProperty[EncoderCase], ...] = (
    NetProperty(
        "tokens-and-stages",
        "tokens are (B, T, width) with a mask (B, T) of bool, stages a list of (B, ...), each sample's by itself",
        "the mask is True on real parts, and leaves at least one to every sample; tokens and stages follow the same "
        "rules as features: nothing over the batch, no dropout in evaluation, no detach()",
        encoder_checks.parts,
    ),
    NetProperty(
        "padding",
        "features and real tokens depend on the real steps alone",
        "divide sums over steps by `lengths`, take the last real step, mask attention; or declare padded = False",
        encoder_checks.padding,
    ),
    NetProperty(
        "inputs-kept",
        "a pass does not write to the samples that it is given",
        "x = x - 1 instead of x -= 1, x.clamp(0) instead of x.clamp_(0), no nn.ReLU(inplace=True) as the first layer",
        encoder_checks.inputs_kept,
    ),
    NetProperty(
        "order-of-modalities",
        "the initial weights of a modality do not depend on the modalities before it",
        "no counter or generator that all nets share",
        encoder_checks.order_of_modalities,
    ),
)
ALL: tuple[NetProperty[EncoderCase], ...] = (USABLE, *SHARED[:1], *OWN[:2], *SHARED[1:], *OWN[2:])
PROPERTIES: tuple[Property[Cases[EncoderCase]], ...] = tuple(one.of_cases() for one in ALL)


def opened(target: str) -> Opened[Cases[EncoderCase]]:
    """The encoder that a name, a file or a class of a package names, with its default settings."""
    cls = class_of(target)
    kind = nets.encoder(target) if cls is None else nets.encoder_class(cls, target)
    return opened_kind(kind, {name: one.default for name, one in kind.settings.items()})


def opened_kind(kind: EncoderKind, values: Values) -> Opened[Cases[EncoderCase]]:
    """An encoder with these settings, ready to be checked."""
    cases = encoder_cases(kind, values)
    return Opened(kind.name, cases, file_of(kind), partial(costs, cases.of))


def class_of(target: str) -> type[nn.Module] | None:
    """The class that `PACKAGE:CLASS` names; None for a name and for a file."""
    cls = None if place_of(target) else packaged(target)
    return cls if cls is not None and issubclass(cls, nn.Module) else None


def file_of(kind: EncoderKind | FusionKind) -> Path | None:
    """The file that defines a net of somebody else's; None for nets of the harness, and where there is no file."""
    place = place_of(kind.name)
    if place is not None:
        return place.path.absolute()
    module = sys.modules.get(kind.origin.partition(":")[0]) if kind.digest else None
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def costs(cases: Sequence[NetCase]) -> tuple[tuple[str, str], ...]:
    """What a net costs in each case that it can be used in: parameters, and floating-point operations per sample."""
    return tuple((f"cost {case.label}", _cost(case)) for case in cases if not case.refused)


def _cost(case: NetCase) -> str:
    """In words; of a head without what its encoders cost."""
    model = case.drawn().eval()
    done = operations(case.single_pass(model))
    parameters = sum(p.numel() for p in case.part(model).parameters())
    told = f"{parameters:,} parameters, {done.total:,} floating-point operations per sample"
    return f"{told} without {', '.join(done.uncounted)}, which cannot be counted" if done.uncounted else told


KIT = Kit(PROPERTIES, opened)
