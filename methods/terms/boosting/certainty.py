"""Predictions of several modalities made one, in which the more certain modality counts more."""

import torch
from torch import Tensor


def entropies(logits: Tensor, over_batch: bool = False) -> Tensor:
    """The entropy in nats, (M, B), of the distribution over classes of every modality and sample.

    logits: (M, B, C). over_batch: take the softmax over the samples of the batch, not over classes, and sum over
    samples and classes, so that all samples have one value per modality.

    >>> entropies(torch.zeros(1, 1, 4)).exp()
    tensor([[4.]])
    """
    log_p = logits.log_softmax(1 if over_batch else 2)
    each = -(log_p.exp() * log_p).sum(2)
    return each.sum(1, keepdim=True).expand_as(each) if over_batch else each


def certainty_weights(entropy: Tensor, having: Tensor | None = None) -> Tensor:
    """The weights (M, B) of the modalities of every sample, proportional to exp(-H_m), with sum 1.

    entropy: H (M, B). having: (M, B) bool, the modalities that a sample has; the others weigh 0, unless it has none.

    >>> certainty_weights(torch.tensor([[0.0], [1.0986]]))
    tensor([[0.7500],
            [0.2500]])
    """
    if having is not None:
        entropy = entropy.masked_fill(~(having | ~having.any(0)), torch.inf)
    return (-entropy).softmax(0)
