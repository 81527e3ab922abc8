"""From settings and shapes to a model; weights are drawn afterwards, by `seeds.initialise`."""

from collections.abc import Mapping

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.encoders import MLP
from mcr_bench.bench.models.fusion import make_fusion
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.task import Task
from mcr_bench.bench.training_settings import EncoderSettings, ModelSettings
from mcr_bench.datasets.base import Modality


def encoder_kind(kind: str, modality: Modality) -> str:
    """The encoder that `auto` stands for, chosen by the sample's shape."""
    if kind != "auto":
        return kind
    return "mlp"


def make_encoder(kind: str, modality: Modality, out: int, settings: EncoderSettings) -> nn.Module:
    """One encoder; UserError where kind and shape do not fit."""
    if kind == "mlp":
        return MLP(modality.shape, out, settings.width, settings.depth, settings.dropout)
    raise UserError(f"encoder.kind={kind} does not take samples of shape {modality.shape}.")


def build_model(
    modalities: Mapping[str, Modality],
    task: Task,
    model: ModelSettings,
    encoders: Mapping[str, EncoderSettings],
) -> MultimodalModel:
    """The model of a run, before the method's surgery; `encoders[m]` are modality m's settings."""
    made = {
        m: make_encoder(encoder_kind(encoders[m].kind, facts), facts, model.width, encoders[m])
        for m, facts in modalities.items()
    }
    return MultimodalModel(made, make_fusion(model.fusion, list(modalities), model.width, task.outputs), model.width, task)
