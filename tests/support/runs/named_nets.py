"""Encoders and fusion heads of the harness by name, made with a few settings: what tests of single nets share."""

from dataclasses import asdict

from torch import nn

from mcr_bench.bench.models.build import joined, made
from mcr_bench.bench.models.declared import Encoder, Head
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.kinds import encoder_kind_of, fusion_kind_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings


def make_encoder(kind: str, modality: Modality, out: int, settings: EncoderSettings) -> nn.Module:
    """One encoder of the harness, (values (B, ...), lengths (B,)) -> features (B, out); UserError as `made`."""
    return made(Encoder(encoder_kind_of(kind), asdict(settings)), modality, out)


def make_fusion(kind: str, modalities: list[str], width: int, outputs: int, conditioning: str = "") -> Fusion:
    """A fusion head of the harness by name; UserError for an unknown one or one that cannot join these modalities.

    `conditioning` is read by film only.
    """
    return joined(Head(fusion_kind_of(kind), width, {"conditioning": conditioning}), modalities, outputs)
