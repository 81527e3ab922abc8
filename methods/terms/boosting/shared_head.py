"""A fusion head that scores every modality with one and the same network, and sums the scores."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of


class SharedSum(Fusion):
    """z = b sum_m H(f_m): a head H with one hidden layer of half the width, which all modalities share, and a scale b.

    b is learned, and 1 at first.
    """

    additive = True

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        hidden = max(1, width // 2)
        self.slices = nn.ModuleDict()
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
        self.scale = nn.Parameter(torch.ones(()))

    def reset_parameters(self) -> None:
        """b = 1; the layers of H reset themselves."""
        nn.init.ones_(self.scale)

    def alone(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features (B, d) of some modalities -> the logits (B, C) H(f_m) of each, in full precision."""
        with full_precision(self.scale.device):
            return {m: self.head(promoted(f)) for m, f in features.items()}

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branch logits (B, C)."""
        branches = {m: self.scale * z for m, z in self.alone(features).items()}
        return Fused(sum_of(branches), branches)
