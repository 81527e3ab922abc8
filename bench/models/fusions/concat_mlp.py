"""Concatenation and a two-layer network."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import FusionKind
from mcr_bench.bench.models.fusion import Fused, Fusion, draw_bias, sum_of


class ConcatMLP(Fusion):
    """z = W relu(sum_m V_m f_m + c) + b: a two-layer network over the concatenated features.

    The first layer is held as one slice per modality, so that the order of the modalities does not matter.
    """

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.slices = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in modalities})
        self.hidden_bias = nn.Parameter(torch.empty(width))
        self.output = nn.Linear(width, outputs)

    def reset_parameters(self) -> None:
        """The hidden bias as in a linear layer of one modality's width."""
        draw_bias(self.hidden_bias, self.width)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""
        hidden = sum_of({m: layer(features[m]) for m, layer in self.slices.items()}) + self.hidden_bias
        return Fused(self.output(hidden.relu()), None)


KIND = FusionKind(
    name="concat-mlp",
    about="a two-layer network over the concatenated features",
    make=lambda modalities, width, outputs, _: ConcatMLP(modalities, width, outputs),
)
