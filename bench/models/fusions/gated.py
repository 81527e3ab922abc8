"""Gated fusion, symmetric over any number of modalities."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import FusionKind
from mcr_bench.bench.models.fusion import Fused, Fusion


class ValueAndGate(nn.Module):
    """One modality's share of the gated head: (B, d) -> values (B, d) and gate scores (B, d)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, d) -> values (B, d) and gate scores (B, d)."""
        return self.value(features), self.gate(features)


class Gated(Fusion):
    """z = W sum_m g_m * V_m f_m + b, elementwise gates g = softmax over modalities of G_m f_m: symmetric over M."""

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict({m: ValueAndGate(width) for m in modalities})
        self.output = nn.Linear(width, outputs)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""
        pairs = [layer(features[m]) for m, layer in self.slices.items()]
        values, scores = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return Fused(self.output((scores.softmax(0) * values).sum(0)), None)


KIND = FusionKind(
    name="gated",
    about="values weighted by a softmax over modalities of gate scores",
    make=lambda modalities, width, outputs, _: Gated(modalities, width, outputs),
)
