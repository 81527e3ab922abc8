"""Late linear: the sum of one linear layer per modality, the head of the MCR paper's main results and of MLB's code."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import FusionKind
from mcr_bench.bench.models.fusion import Fused, Fusion, draw_bias, sum_of


class LateLinear(Fusion):
    """z = sum_m f_m W_m^T + b."""

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs, bias=False) for m in modalities})
        self.bias = nn.Parameter(torch.empty(outputs))

    def reset_parameters(self) -> None:
        """The bias as in a linear layer of one modality's width; the slices reset themselves."""
        assert self.bias is not None
        draw_bias(self.bias, self.width)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branch logits (B, C) without the bias."""
        branches = {m: layer(features[m]) for m, layer in self.slices.items()}
        assert self.bias is not None
        return Fused(sum_of(branches) + self.bias, branches)


KIND = FusionKind(
    name="late-linear",
    about="one linear layer per modality, summed",
    make=lambda modalities, width, outputs, _: LateLinear(modalities, width, outputs),
    additive=True,
)
