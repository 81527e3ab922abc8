"""Which method is defined for which fusion head that comes with the harness, from what both declare."""

from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.models.declared import FusionKind
from mcr_bench.bench.models.kinds import fusion_kinds

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

USUAL = "late-linear"


def reason_against_head(cls: "type[Method]", kind: FusionKind) -> str | None:
    """Why a method is not defined for a fusion head; None where it is.

    A method that trains on one modality alone is defined for all: a single modality goes through late-linear. Whether a
    head of a file reads the tokens that it takes, only a trial with its encoders tells.
    """
    needs = cls.needs
    if cls.role == "unimodal":
        return None
    if reason := needs.unmet_by_head(kind.name, kind.additive, kind.reads):
        unsure = kind.digest and needs.unmet_by_head(kind.name, kind.additive) is None
        return f"{reason}, where its forward asks for them (--plan tells)" if unsure else reason
    alone = needs.at_least == 1  # then it goes through late-linear
    if not alone and max(needs.at_least, kind.at_least) > min(needs.at_most, kind.at_most):
        takes = _range(needs.at_least, needs.at_most)
        return f"takes {takes} modalities, but {kind.name} joins {_range(kind.at_least, kind.at_most)}"
    return None


def heads_of(cls: "type[Method]") -> dict[str, str | None]:
    """Fusion head -> why the method is not defined for it, None where it is."""
    return {name: reason_against_head(cls, kind) for name, kind in sorted(fusion_kinds().items())}


def usual_head(cls: "type[Method]") -> FusionKind:
    """The fusion head with which a method is tried: late-linear, or else the first by name that it is defined for.

    Heads that need more packages are left out. It is late-linear too for a method that is defined for none.
    """
    kinds = fusion_kinds()
    if reason_against_head(cls, kinds[USUAL]) is None:
        return kinds[USUAL]
    admitted = (kind for _, kind in sorted(kinds.items()) if not kind.extra and reason_against_head(cls, kind) is None)
    return next(admitted, kinds[USUAL])


def methods_of(kind: FusionKind) -> dict[str, str | None]:
    """Method -> why it is not defined for the head, None where it is."""
    return {name: reason_against_head(registry.method(name), kind) for name in registry.shipped_methods()}


def method_and_head() -> dict[str, dict[str, str | None]]:
    """Method -> fusion head -> why the method is not defined for it, None where it is."""
    return {name: heads_of(registry.method(name)) for name in registry.shipped_methods()}


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} or more" if most >= 99 else f"{least} to {most}"
