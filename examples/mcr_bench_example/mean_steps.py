"""A network on every step of a sequence, and the mean of its own steps.

f = V (1 / T) sum_t relu(W x_t + b) + c, over the T real steps of a sample; a vector is a sequence of one step.
"""

import torch
from torch import Tensor, nn

from mcr_bench.bench.settings import setting


def mean_of(steps: Tensor, real: Tensor) -> Tensor:
    """The mean (B, K) of the real ones among steps (B, T, K); real: (B, T) bool.

    >>> mean_of(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    weight = real[..., None].to(steps)
    return (steps * weight).sum(1) / weight.sum(1).clamp(min=1)


class MeanSteps(nn.Module):
    """One hidden layer on every step, their mean, and a linear layer to the features."""

    axes = (1, 2)  # vectors (D,) and sequences (T, C); padded sequences too

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int,
        hidden: int = setting(32, "size of the hidden layer", origin="chosen here", at_least=1),
    ) -> None:
        super().__init__()
        self.hidden, self.project = nn.Linear(shape[-1], hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Vectors (B, D) or sequences (B, T, C), and their lengths (B,) -> features (B, width)."""
        return mean_of(*self.tokens(x, lengths))

    def tokens(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T, width) of every step, and a mask (B, T), True on real steps; for heads that read them."""
        steps = x if x.ndim == 3 else x[:, None]
        place = torch.arange(steps.shape[1], device=x.device).expand(steps.shape[:2])
        real = place < (steps.shape[1] if lengths is None else lengths[:, None])
        return self.project(torch.relu(self.hidden(steps))), real
