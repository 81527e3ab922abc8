"""Supervised contrastive loss over all modalities' features."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(features: dict[str, Tensor], labels: Tensor, temperature: float) -> Tensor:
    """Supervised NT-Xent over M*B normalised features (B, d each) with labels (B,), as MCR's equation 9.

    Labels are classes or, as in the MCR code, the raw scores of a regression: the same label means exactly equal.

    For anchor a and each positive p (any other vector of the same label, in any modality):
    -log(e(a, p) / (e(a, p) + sum over different-label n of e(a, n))), e = exp(cosine / temperature); mean over ordered
    pairs (a, p), 0 if there are none.
    """
    vectors = F.normalize(torch.cat(list(features.values())), dim=-1, eps=1e-6)
    scores = vectors @ vectors.T / temperature
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    labels = labels.repeat(len(features))
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    # Finite, not -inf: an anchor without negatives must not meet inf - inf in any backward pass.
    negatives = scores.masked_fill(same, -1e30).logsumexp(-1, keepdim=True)
    losses = -F.logsigmoid(scores - negatives)
    return (losses * positive).sum() / positive.sum().clamp(min=1)


def score_bins(scores: Tensor) -> Tensor:
    """Coarser labels for regression: the nearest whole number (halves to the even one), as MOSI's seven classes."""
    return scores.round()
