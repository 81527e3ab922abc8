"""The encoders and fusion heads that come with the harness, by name: one file of a package each."""

import importlib
import pkgutil
from functools import cache
from typing import TypeVar

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.declared import OF_WEIGHTS, Encoder, EncoderKind, FusionKind, described
from mcr_bench.bench.problem.facts import Modality

ROOM = "mcr_bench.bench.models"
T = TypeVar("T")


@cache
def encoder_kinds() -> dict[str, EncoderKind]:
    """Every encoder by name; UserError where two files declare the same name."""
    return {kind.name: kind for kind in _declarations("encoders", EncoderKind)}


@cache
def fusion_kinds() -> dict[str, FusionKind]:
    """Every fusion head by name."""
    return {kind.name: kind for kind in _declarations("fusions", FusionKind)}


def encoder_kind_of(name: str) -> EncoderKind:
    """The encoder of that name; UserError for an unknown one."""
    if name not in encoder_kinds():
        raise unknown("encoder", name, encoder_kinds())
    return encoder_kinds()[name]


def fusion_kind_of(name: str) -> FusionKind:
    """The fusion head of that name; UserError for an unknown one."""
    if name not in fusion_kinds():
        raise unknown("fusion", name, fusion_kinds())
    return fusion_kinds()[name]


def pretrained() -> tuple[str, ...]:
    """The encoders that may start from pre-trained weights."""
    return tuple(name for name, kind in encoder_kinds().items() if set(OF_WEIGHTS) <= kind.settings.keys())


def fitting(modality: Modality) -> list[EncoderKind]:
    """The encoders that take such samples, the one that `auto` stands for first."""
    kinds = [kind for kind in encoder_kinds().values() if kind.fits(modality)]
    return sorted(kinds, key=lambda kind: (not kind.stands_for_auto(modality), kind.name))


def lacks_part(head: str, part: str, name: str, encoder: Encoder, modality: Modality) -> UserError:
    """An error for a head that reads the tokens or stages of an encoder without any, with those that have them.

    head: the head as the text begins with it. name: the modality.
    """
    having = [k.name for k in fitting(modality) if (k.tokens if part == "tokens" else k.stages)]
    own = f"a net of your own with a method `{part}` (encoder.{name}.kind=./my_net.py:Net)"
    remedy = f"Encoders that have them for {described(modality)}: {', '.join([*having, own])}"
    return UserError(f"{head} reads the {part} of '{name}', whose encoder {encoder.kind.name} has none. {remedy}")


def _declarations(package: str, declaration: type[T]) -> list[T]:
    """What the files of a package declare as their `KIND`."""
    imported = importlib.import_module(f"{ROOM}.{package}")
    names = sorted(module.name for module in pkgutil.iter_modules(imported.__path__) if not module.name.startswith("_"))
    kinds = [getattr(importlib.import_module(f"{ROOM}.{package}.{name}"), "KIND", None) for name in names]
    for name, kind in zip(names, kinds, strict=True):
        assert isinstance(kind, declaration), f"{package}/{name}.py declares no KIND of type {declaration.__name__}"
    return [kind for kind in kinds if isinstance(kind, declaration)]
