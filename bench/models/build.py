"""From settings and shapes to a model; weights are drawn afterwards, by `seeds.initialise`."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import product

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import (
    OF_WEIGHTS,
    OF_WINDOWS,
    Encoder,
    EncoderKind,
    FusionKind,
    Head,
    described,
    no_kind_takes,
)
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.kinds import encoder_kind_of, fitting, fusion_kind_of, lacks_part, pretrained
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.stages import stage_sizes
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.declaration import declared
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task

ALONE = "late-linear"  # joins a single modality where the head that was asked for needs more


def fitting_kinds(modality: Modality) -> tuple[str, ...]:
    """The encoders that take such samples, the one that `auto` stands for first; UserError if there is none."""
    kinds = fitting(modality)
    if not kinds:
        raise no_kind_takes(modality)
    return tuple(kind.name for kind in kinds)


def encoder_kind(kind: str, modality: Modality) -> str:
    """The encoder that `auto` stands for, chosen by the sample's shape."""
    return fitting_kinds(modality)[0] if kind == "auto" else kind


def encoder_of(settings: EncoderSettings, modality: Modality) -> Encoder:
    """An encoder of the harness with these settings, `auto` by the sample's shape."""
    values = asdict(settings)
    return Encoder(encoder_kind_of(encoder_kind(str(values.pop("kind")), modality)), values)


def head_of(settings: ModelSettings) -> Head:
    """A fusion head of the harness with these settings."""
    values = asdict(settings)
    return Head(fusion_kind_of(str(values.pop("fusion"))), int(values.pop("width")), values)


def made(encoder: Encoder, modality: Modality, out: int) -> nn.Module:
    """One encoder; UserError where kind, shape and settings do not fit."""
    require_fit(encoder.kind, modality)
    require_settings(encoder)
    return encoder.kind.make(modality, out, encoder.values)


def require_fit(kind: EncoderKind, modality: Modality) -> None:
    """UserError where an encoder does not take such samples, with those that do."""
    if kind.fits(modality):
        return
    names = [one.name for one in fitting(modality)]
    if not names and not kind.digest:
        raise no_kind_takes(modality)
    allowed = " or ".join(f"encoder.kind={name}" for name in ("auto", *names)) if names else "another net"
    raise UserError(f"encoder.kind={kind.name} does not take {described(modality)}{_declares(kind)}. Use {allowed}.")


def _declares(kind: EncoderKind) -> str:
    """What a net that does not come with the harness says that it takes."""
    if not kind.digest:
        return ""
    padded = ", padded too" if kind.padded else ", none padded"
    return f": it declares samples of {' or '.join(map(str, kind.axes))} axes{padded}"


def require_settings(encoder: Encoder) -> None:
    """UserError for settings of pre-trained weights, or of windows, where the encoder has none."""
    absent = {*OF_WEIGHTS, *OF_WINDOWS} - encoder.kind.settings.keys()
    defaults = {name: declared(EncoderSettings)[name].default for name in absent}
    given = [name for name in absent if encoder.values.get(name, defaults[name]) != defaults[name]]
    if encoder.kind.digest or not given:
        return
    if set(given) <= set(OF_WINDOWS):
        raise UserError(
            f"encoder.{', '.join(OF_WINDOWS)} are for windows, not for {encoder.kind.name}. "
            "Set them for one modality: encoder.MODALITY.window."
        )
    raise UserError(
        f"encoder.weights, layers and frozen are for {', '.join(pretrained())}, not for {encoder.kind.name}. "
        "Set them for one modality: encoder.MODALITY.weights."
    )


def joining(kind: FusionKind, modalities: int) -> FusionKind:
    """The head that joins so many modalities; UserError for too many of them, or for too few but one.

    A single modality has nothing to be joined with: it goes through late-linear where the head needs more, so that
    unimodal runs can stand beside runs with this head.
    """
    if modalities == 1 < kind.at_least:
        return fusion_kind_of(ALONE)
    if kind.at_least <= modalities <= kind.at_most:
        return kind
    raise UserError(
        f"model.fusion={kind.name} joins {_number(kind)} modalities, got {modalities}; use gated or late-linear."
    )


def _number(kind: FusionKind) -> str:
    """How many modalities a head joins, in words."""
    if kind.at_least == kind.at_most:
        return f"exactly {kind.at_least}"
    if kind.at_most == FusionKind.at_most:  # no upper bound was declared
        return f"at least {kind.at_least}"
    return f"{kind.at_least} to {kind.at_most}"


def joined(head: Head, modalities: list[str], outputs: int) -> Fusion:
    """The fusion head over these modalities; UserError where it cannot join them."""
    kind = joining(head.kind, len(modalities))
    return kind.make(modalities, head.width, outputs, head.values if kind is head.kind else {})


def joined_on(head: Head, modalities: Mapping[str, Modality], outputs: int, encoders: Mapping[str, Encoder]) -> Fusion:
    """As `joined`, over the encoders of these modalities, whose parts the head may read; UserError if one has none."""
    kind = joining(head.kind, len(modalities))
    for part, m in product(() if kind.digest else kind.reads, modalities):
        if not (encoders[m].kind.tokens if part == "tokens" else encoders[m].kind.stages):
            raise lacks_part(f"model.fusion={kind.name}", part, m, encoders[m], modalities[m])
    if kind.make_on is None:
        return joined(head, list(modalities), outputs)
    return kind.make_on(stage_sizes(encoders, modalities, head.width), head.width, outputs, head.values)


def build_model(
    modalities: Mapping[str, Modality],
    task: Task,
    model: ModelSettings | Head,
    encoders: Mapping[str, EncoderSettings | Encoder],
) -> MultimodalModel:
    """The model of a run, before the method's surgery; `encoders[m]` is what was chosen for modality m.

    Settings classes are those of encoders and heads that come with the harness.
    """
    for name in modalities:
        check_name(name)
    head = model if isinstance(model, Head) else head_of(model)
    chosen = {m: _chosen(encoders[m], facts) for m, facts in modalities.items()}
    nets = {m: made(chosen[m], facts, head.width) for m, facts in modalities.items()}
    return MultimodalModel(nets, joined_on(head, modalities, task.outputs, chosen), head.width, task)


def _chosen(encoder: EncoderSettings | Encoder, modality: Modality) -> Encoder:
    return encoder if isinstance(encoder, Encoder) else encoder_of(encoder, modality)


def check_name(name: str) -> None:
    """Parameters are named after their modality, so PyTorch's rules for names hold."""
    if reason := refused_name(name):
        raise UserError(
            f"a modality cannot be called '{name}': PyTorch refuses it as a module's name ({reason}). "
            "Rename it in the data: any name without a dot is allowed that is not an attribute of a module, such as "
            f"'{name.replace('.', '_')}_input'."
        )


def refused_name(name: str) -> str | None:
    """Why PyTorch refuses `name` as the name of a module; None if it does not."""
    try:
        nn.ModuleDict({name: nn.Identity()})
    except KeyError as error:
        return str(error.args[0])
    return None
