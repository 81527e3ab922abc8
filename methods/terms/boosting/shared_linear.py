"""A fusion head of one linear layer that all modalities share."""

from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of


class SharedLinear(Fusion):
    """z = mean_m z_m with z_m = W f_m + b, and the same W and b for all modalities."""

    additive = True

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.head = nn.Linear(width, outputs)

    def alone(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Features (B, d) of some modalities -> the logits (B, C) z_m of each, in full precision."""
        with full_precision(self.head.weight.device):
            return {m: self.head(promoted(f)) for m, f in features.items()}

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branch logits (B, C), z_m / M each."""
        branches = {m: z / len(features) for m, z in self.alone(features).items()}
        return Fused(sum_of(branches), branches)
