"""Entropies of a batch, in nats: of its labels, and of the softmax over the dimensions of its features."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mcr_bench.bench.core.precision import promoted
from mcr_bench.methods.terms.losses import ALL, batch_mean


def feature_entropy(features: Mapping[str, Tensor], having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean over the batch of the entropy of softmax(f) over the dimensions of f, for each modality: (M,).

    features: modality -> (B, d). having: modality -> (B,) bool, the samples that have it, where these are not all.

    >>> feature_entropy({"audio": torch.zeros(3, 8)}).exp()
    tensor([8.0000])
    """
    log_p = promoted(torch.stack([f.detach() for f in features.values()])).log_softmax(-1)
    return batch_mean(-(log_p.exp() * log_p).sum(-1), list(features), having)


def label_entropy(target: Tensor, classes: int) -> Tensor:
    """The entropy () of the classes (B,) of a batch.

    >>> label_entropy(torch.tensor([0, 2, 2, 0]), 3).exp()
    tensor(2.)
    """
    shares = one_hot(target, classes).float().mean(0)
    entropy: Tensor = -torch.special.xlogy(shares, shares).sum()
    return entropy
