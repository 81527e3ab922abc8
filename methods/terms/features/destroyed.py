"""Features whose task information is destroyed: entries replaced at random, or those that a learned gate gives up."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Fill = Literal["shuffle", "zeros", "noise"]
OFFSET = 0.008  # of the cosine schedule


def replacement_rates(draws: int, least: float, most: float, device: torch.device | None = None) -> Tensor:
    """The probability (K,) of replacing an entry in each of K draws, which falls from `most` to `least` as a cosine.

    least + (most - least) cos^2((k / (K - 1) + s) / (1 + s) pi / 2) for k = 0 ... K - 1, with s = 0.008.

    >>> replacement_rates(3, 0.3, 0.9)
    tensor([0.8999, 0.5963, 0.3000])
    """
    passed = torch.linspace(0, 1, draws, device=device) if draws > 1 else torch.zeros(1, device=device)
    return least + (most - least) * (((passed + OFFSET) / (1 + OFFSET)) * (math.pi / 2)).cos().square()


def filling(features: Tensor, fill: Fill, generator: torch.Generator) -> Tensor:
    """What replaces entries of features (K, B, d), drawn: those of samples in random order, zeros, or normal noise."""
    if fill == "zeros":
        return torch.zeros_like(features)
    if fill == "noise":
        return torch.randn(features.shape, generator=generator, device=features.device).to(features)
    order = torch.rand(features.shape[:2], generator=generator, device=features.device).argsort(1)
    return features.gather(1, order[..., None].expand_as(features))


def destroyed_at_random(features: Tensor, rates: Tensor, fill: Fill, generator: torch.Generator) -> Tensor:
    """Features (B, d) in K versions, (K, B, d), in which each entry is replaced with the probability of the draw.

    rates: (K,), on the device of the features.
    """
    repeated = features.expand(len(rates), *features.shape)
    drawn = torch.rand(repeated.shape, generator=generator, device=features.device)
    lost = drawn < rates[:, None, None]
    return torch.where(lost, filling(repeated, fill, generator), repeated)


def destroyed_by_gate(
    features: Tensor,
    loss: Callable[[Tensor], Tensor],
    sparsity: float,
    fill: Fill,
    generator: torch.Generator,
    steps: int = 20,
    rate: float = 0.1,
) -> Tensor:
    """Features (B, d) as (1, B, d), mixed entry by entry with what replaces them, by a gate of each sample.

    The gate g = sigmoid(l) keeps g of an entry; l starts at 1 and makes `steps` steps of Adam on
    -loss(mixed features) + sparsity mean (1 - g), with gradients of norm 1 at most. It has no gradient itself.

    loss: features (B, d) -> the loss () of predicting from them alone.
    """
    fixed = features.detach()
    logits = torch.ones_like(fixed, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            gate = logits.sigmoid()
            mixed = torch.lerp(filling(fixed[None], fill, generator)[0], fixed, gate)
            objective = -loss(mixed) + sparsity * (1 - gate).mean()
            (logits.grad,) = torch.autograd.grad(objective, logits)
            torch.nn.utils.clip_grad_norm_([logits], 1.0)
            adam.step()
    return torch.lerp(filling(features[None], fill, generator), features[None], logits.detach().sigmoid())
