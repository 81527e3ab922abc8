"""The supervised contrastive loss over the features of all modalities."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(features: dict[str, Tensor], labels: Tensor, temperature: float) -> Tensor:
    """Supervised NT-Xent loss () over the M B normalised features of all modalities (arXiv 2411.07335, equation 9).

    features: modality -> (B, d). labels: (B,), classes or, as in the MCR code, the scores of a regression, which are
    the same label only if they are exactly equal.

    For an anchor a and a positive p, which is any other vector with the same label in any modality, the loss is
    -log(e(a, p) / (e(a, p) + sum_n e(a, n))) over all n with another label, where e = exp(cosine / temperature). The
    mean over all ordered pairs (a, p) is taken; it is 0 if there are none.

    >>> same = {"audio": torch.tensor([[1.0, 0.0]]), "video": torch.tensor([[0.0, 1.0]])}
    >>> nt_xent(same, torch.tensor([3]), temperature=0.5)  # one label: there are no negatives
    tensor(0.)
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
    """Coarser labels (N,) of scores (N,): the nearest whole numbers, halves to the even one, as MOSI's seven classes.

    >>> score_bins(torch.tensor([-2.6, 0.5, 1.2]))
    tensor([-3.,  0.,  1.])
    """
    return scores.round()
