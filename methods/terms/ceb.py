"""Conditional entropy bottleneck term of MCR: the features are to be predictable from the fused logits."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FeatureDecoder(nn.Module):
    """g: logits (B, C) -> features of every modality (B, d); Linear - ReLU - Linear without biases.

    The last layer is cut by modality, so that weights do not depend on the order of modalities.
    """

    def __init__(self, modalities: list[str], outputs: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(outputs, width, bias=False)
        self.slices = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in modalities})

    def forward(self, logits: Tensor) -> dict[str, Tensor]:
        hidden = F.relu(self.hidden(logits))
        return {m: layer(hidden) for m, layer in self.slices.items()}


def ceb(features: dict[str, Tensor], logits: Tensor, decoder: nn.Module) -> Tensor:
    """Mean squared error of g(logits) to all features, arXiv 2411.07335 equation 11; no gradient to the logits."""
    decoded = decoder(logits.detach())
    return torch.stack([F.mse_loss(decoded[m], f) for m, f in features.items()]).mean()
