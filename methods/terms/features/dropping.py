"""How often the feature of each modality is dropped in training."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.methods.terms.losses import ALL
from mcr_bench.methods.terms.scores import mean_of_others


def drop_rates(scores: Tensor, base: float, strength: float, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The probability q of dropping each modality's feature, (M,), of scores s (M,).

    q_m = base (1 + strength r_m), at most 1, where r_m = tanh(max(0, s_m / mean_{j != m} s_j - 1)) is positive, else 0.
    having: see `mean_of_others`; where there is nothing to compare, q_m = 0.

    >>> drop_rates(torch.tensor([0.8, 0.4]), base=0.5, strength=0.5)
    tensor([0.6904, 0.0000])
    """
    ahead = torch.tanh((scores / mean_of_others(scores, having) - 1).clamp(min=0))
    return torch.where(ahead > 0, (base * (1 + strength * ahead)).clamp(max=1), 0.0)
