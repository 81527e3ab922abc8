"""From settings and shapes to a model; weights are drawn afterwards, by `seeds.initialise`."""

from collections.abc import Mapping

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.conformer import ConformerEncoder
from mcr_bench.bench.models.backbones.make import PRETRAINED, pretrained_encoder, speech_kinds
from mcr_bench.bench.models.encoders import MLP, ConvSequence, conv2d_encoder
from mcr_bench.bench.models.fusion import make_fusion
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.resnet import resnet18_encoder
from mcr_bench.bench.models.transformer import SequenceTransformer
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Modality

# By the number of axes of one sample; the first is what `auto` stands for.
KINDS = {
    1: ("mlp",),
    2: ("conv1d", "transformer", "mlp", "conformer"),
    3: ("conv2d", "resnet18", "mlp", "swin"),
    4: ("conv2d", "resnet18", "mlp", "swin", "vivit"),
}
PADDED_KINDS = {2: ("transformer", "conv1d", "conformer"), 4: ("conv2d", "resnet18", "swin")}


def fitting_kinds(modality: Modality) -> tuple[str, ...]:
    """The encoders that take such samples, the one that `auto` stands for first; UserError if there is none."""
    kinds = (PADDED_KINDS if modality.padded else KINDS).get(len(modality.shape), ())
    kinds += speech_kinds(modality)
    if not kinds:
        raise UserError(
            f"no encoder takes {_samples(modality)}. Samples may be (D,), (T, C), (C, H, W) or (T, C, H, W), "
            "padded ones (T, C) or (T, C, H, W); reshape the data."
        )
    return kinds


def encoder_kind(kind: str, modality: Modality) -> str:
    """The encoder that `auto` stands for, chosen by the sample's shape."""
    return fitting_kinds(modality)[0] if kind == "auto" else kind


def make_encoder(kind: str, modality: Modality, out: int, settings: EncoderSettings) -> nn.Module:
    """One encoder; UserError where kind and shape do not fit."""
    fitting = fitting_kinds(modality)
    if kind not in fitting:
        allowed = " or ".join(f"encoder.kind={k}" for k in ("auto", *fitting))
        raise UserError(f"encoder.kind={kind} does not take {_samples(modality)}. Use {allowed}.")
    if kind in PRETRAINED:
        return pretrained_encoder(kind, modality, out, settings)
    if settings.weights or settings.layers or settings.frozen:
        raise UserError(
            f"encoder.weights, layers and frozen are for {', '.join(PRETRAINED)}, not for {kind}. "
            "Set them for one modality: encoder.MODALITY.weights."
        )
    width, depth, dropout = settings.width, settings.depth, settings.dropout
    if kind == "mlp":
        return MLP(modality.shape, out, width, depth, dropout)
    channels = modality.shape[-1 if len(modality.shape) == 2 else -3]
    if kind == "resnet18":
        return resnet18_encoder(channels, out, width, dropout)
    made = {
        "conv1d": ConvSequence,
        "conv2d": conv2d_encoder,
        "transformer": SequenceTransformer,
        "conformer": ConformerEncoder,
    }[kind]
    return made(channels, out, width, depth, dropout)


def build_model(
    modalities: Mapping[str, Modality],
    task: Task,
    model: ModelSettings,
    encoders: Mapping[str, EncoderSettings],
) -> MultimodalModel:
    """The model of a run, before the method's surgery; `encoders[m]` are modality m's settings."""
    for name in modalities:
        _check_name(name)
    made = {
        m: make_encoder(encoder_kind(encoders[m].kind, facts), facts, model.width, encoders[m])
        for m, facts in modalities.items()
    }
    fusion = make_fusion(model.fusion, list(modalities), model.width, task.outputs, model.conditioning)
    return MultimodalModel(made, fusion, model.width, task)


def _check_name(name: str) -> None:
    """Parameters are named after their modality, so PyTorch's rules for names hold."""
    try:
        nn.ModuleDict({name: nn.Identity()})
    except KeyError as error:
        raise UserError(
            f"a modality cannot be called '{name}': PyTorch refuses it as a module's name ({error.args[0]}). "
            "Any name without a dot that is no attribute of a module will do; rename it in the data, e.g. "
            f"'{name.replace('.', '_')}_input'."
        ) from error


def _samples(modality: Modality) -> str:
    return f"{'padded ' * modality.padded}samples of shape {modality.shape}"
