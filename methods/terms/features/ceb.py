"""The conditional entropy bottleneck term of MCR: features shall be predictable from the fused logits."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.methods.terms.losses import ALL, loss_mean


class FeatureDecoder(nn.Module):
    """The decoder g: logits (B, C) -> every modality's features (B, d), by Linear, ReLU, Linear without biases.

    The last layer is one layer per modality, so that initial weights do not depend on the order of modalities.
    """

    def __init__(self, modalities: list[str], outputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(outputs, width, bias=False)
        self.slices = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in modalities})

    def forward(self, logits: Tensor) -> dict[str, Tensor]:
        """Modality -> features (B, d) decoded from logits (B, C)."""
        hidden = F.relu(self.hidden(logits))
        return {m: layer(hidden) for m, layer in self.slices.items()}


def ceb(features: dict[str, Tensor], logits: Tensor, decoder: nn.Module, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean squared error () between features (B, d) and those decoded from logits (B, C), mean over modalities.

    having: modality -> (B,) bool, the samples over which its error is a mean, where these are not all; 0 of none.
    No gradient goes to the logits. It is computed in full precision. Source: arXiv 2411.07335, equation 11.

    >>> features = {"audio": torch.tensor([[1.0, 2.0]])}
    >>> ceb(features, torch.zeros(1, 3), lambda logits: {"audio": torch.tensor([[1.0, 0.0]])})
    tensor(2.)
    """
    with full_precision(logits.device):
        decoded = decoder(promoted(logits.detach()))
        return torch.stack([_error(decoded[m], promoted(f), having.get(m)) for m, f in features.items()]).mean()


def _error(decoded: Tensor, features: Tensor, having: Tensor | None) -> Tensor:
    if having is None:
        return F.mse_loss(decoded, features)
    return loss_mean((decoded - features).square().mean(1), having)
