"""Cards of encoders and fusion heads: what each declares of itself, as plain data."""

from collections.abc import Mapping
from importlib.util import find_spec

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.models.declared import AXES, EncoderKind, FusionKind, installation
from mcr_bench.bench.planning.heads import methods_of
from mcr_bench.bench.report.head_table import defined_for
from mcr_bench.bench.settings.declaration import Declared

Card = dict[str, object]


def list_encoders() -> list[Card]:
    """One row per registered encoder that can be imported: forms, parts that it gives and settings are lists."""
    return [
        {
            "name": kind.name,
            "samples": forms(kind.axes),
            "padded": forms(kind.padded),
            "gives": parts_of(kind),
            "settings": list(kind.settings),
            "needs": needs(kind),
            "about": kind.about,
        }
        for kind in nets.encoders().known.values()
    ]


def list_fusions() -> list[Card]:
    """One row per fusion head that can be imported; `at_most` is None where it joins any number of modalities."""
    return [
        {
            "name": kind.name,
            "at_least": kind.at_least,
            "at_most": None if kind.at_most == FusionKind.at_most else kind.at_most,
            "additive": kind.additive,
            "reads": list(kind.reads),
            "settings": list(kind.settings),
            "needs": needs(kind),
            "about": kind.about,
        }
        for kind in nets.fusions().known.values()
    ]


def encoder_card(kind: EncoderKind) -> Card:
    """What an encoder takes and gives, and its settings."""
    return {
        "encoder": kind.name,
        "description": kind.about or "not stated",
        "samples": samples(kind.axes),
        "padded samples": samples(kind.padded) or "none",
        "auto": " and ".join(filter(None, (samples(kind.auto), _padded(kind.auto_padded)))) or "for no samples",
        "gives": ", ".join(("features", *parts_of(kind))),
        "settings": _settings(kind.settings, "encoder."),
        **_origin(kind),
    }


def fusion_card(kind: FusionKind) -> Card:
    """What a fusion head joins, and its settings."""
    return {
        "fusion": kind.name,
        "description": kind.about or "not stated",
        "modalities": joins(kind),
        "additive": kind.additive,
        "reads": ", ".join(("features", *kind.reads))
        + (", where its forward asks for them" if _may_read(kind) else ""),
        **({"reference": kind.reference} if kind.reference else {}),
        "settings": _settings(kind.settings, "model."),
        **({"deviations": list(kind.deviations)} if kind.reference else {}),
        "methods": defined_for(methods_of(kind)),
        **_origin(kind),
    }


def _may_read(kind: FusionKind) -> bool:
    """Whether a head takes tokens or stages and may leave them unread, which only a trial with encoders tells."""
    return bool(kind.digest and kind.reads)


def forms(axes: tuple[int, ...]) -> list[str]:
    """The forms of samples with so many axes, as `(T, C)`; `any` where an encoder takes any number of them."""
    return ["any"] if len(axes) > len(AXES) else [AXES.get(count, f"{count} axes") for count in axes]


def samples(axes: tuple[int, ...]) -> str:
    """The forms of samples with so many axes in one text, as `(T, C) (C, H, W)`."""
    return ", ".join(forms(axes)).replace("), (", ") (")


def parts_of(kind: EncoderKind) -> list[str]:
    """What an encoder gives beside its features."""
    return [part for part, has in (("tokens", kind.tokens), ("stages", kind.stages)) if has]


def joins(kind: FusionKind) -> str:
    """How many modalities a head joins."""
    if kind.at_least == kind.at_most:
        return str(kind.at_least)
    return f"{kind.at_least} or more" if kind.at_most >= 99 else f"{kind.at_least} to {kind.at_most}"


def needs(kind: EncoderKind | FusionKind) -> str:
    """The optional part of mcr-bench that a kind needs, and whether it is missing here."""
    if not kind.extra:
        return ""
    if not kind.library or _installed(kind.library):
        return f"mcr-bench[{kind.extra}]"
    return f"mcr-bench[{kind.extra}], which is missing here: {installation(kind.extra)}"


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _padded(axes: tuple[int, ...]) -> str:
    return f"padded {samples(axes)}" if axes else ""


def _origin(kind: EncoderKind | FusionKind) -> Card:
    told: Card = {"needs": needs(kind) or "nothing beside mcr-bench"}
    return {**told, "from": kind.origin, "digest": kind.digest} if kind.digest else told


def _settings(settings: Mapping[str, Declared], prefix: str) -> list[Card]:
    return [
        {"key": prefix + d.key, "default": d.default, "allowed": d.allowed, "doc": d.doc, "origin": d.origin}
        for d in settings.values()
    ]
