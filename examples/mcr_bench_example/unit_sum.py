"""The sum of one linear layer per modality on features of one length, so that large ones do not count more.

z = scale * sum_m W_m f_m / |f_m| + b
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.settings import setting


def of_length(features: Tensor, length: float) -> Tensor:
    """Features (B, d), each row scaled to a length; rows of zeros stay as they are.

    >>> of_length(torch.tensor([[3.0, 4.0]]), 10.0)
    tensor([[6., 8.]])
    """
    return length * F.normalize(features, dim=1)


class UnitSum(nn.Module):
    """An additive head: its logits are the sum of its branches, and `bias`."""

    additive = True

    def __init__(
        self,
        modalities: list[str],
        width: int,
        outputs: int,
        scale: float = setting(4.0, "length of the features", origin="chosen here", at_least=0),
    ) -> None:
        super().__init__()
        self.scale = scale
        self.slices = nn.ModuleDict({m: nn.Linear(width, outputs, bias=False) for m in modalities})  # by their owners
        self.bias = nn.Parameter(torch.zeros(outputs))

    def branches(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features (B, width) by modality -> shares (B, outputs) of the logits by modality, without the bias."""
        return {m: layer(of_length(features[m], self.scale)) for m, layer in self.slices.items()}

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features (B, width) by modality -> logits (B, outputs)."""
        return torch.stack(list(self.branches(features).values())).sum(0) + self.bias
