"""The supervised contrastive loss over the features of all modalities, with its gradient in closed form."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.methods.terms.losses import ALL, stacked

LARGEST = 2**20  # elements of a temporary tensor (4 MB): of more anchors than fit, one group follows the other
NOTHING = 1e30  # finite, not inf: an anchor without negatives must not meet inf - inf
HELD = 70.0  # e^-70 and e^70 are numbers in every precision that is used


def nt_xent(
    features: dict[str, Tensor], labels: Tensor, temperature: float, having: Mapping[str, Tensor] = ALL
) -> Tensor:
    """Supervised NT-Xent loss () over the M B normalised features of all modalities (arXiv 2411.07335, equation 9).

    features: modality -> (B, d). labels: (B,), classes or, as in the MCR code, the scores of a regression, which are
    the same label only if they are exactly equal; or (B, L), which are the same only if all L are equal.
    having: modality -> (B,) bool, the samples that have it; all have the others. The feature of a modality that a
    sample lacks is not a vector of the loss: neither an anchor, nor a positive, nor a negative.

    For an anchor a and a positive p, which is any other vector with the same label in any modality, the loss is
    -log(e(a, p) / (e(a, p) + sum_n e(a, n))) over all n with another label, where e = exp(cosine / temperature). The
    mean over all ordered pairs (a, p) is taken; it is 0 if there are none. The computation is in full precision; of
    the M B x M B pairs, temporary tensors hold those of as many anchors as make about a million.

    >>> same = {"audio": torch.tensor([[1.0, 0.0]]), "video": torch.tensor([[0.0, 1.0]])}
    >>> nt_xent(same, torch.tensor([3]), temperature=0.5)  # one label: there are no negatives
    tensor(0.)
    """
    kept = stacked(list(features), having)
    loss: Tensor = _NtXent.apply(one_each(labels), temperature, kept, *features.values())  # type: ignore[no-untyped-call]
    return loss


def one_each(labels: Tensor) -> Tensor:
    """Labels (B,) as they are; rows (B, L) as numbers (B,), which are equal if and only if all L values are.

    >>> one_each(torch.tensor([[0, 1], [1, 1], [0, 1]]))
    tensor([0, 1, 0])
    """
    if labels.ndim == 1:
        return labels
    same = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device)
    for column in labels.unbind(1):
        same &= column[:, None] == column
    return torch.where(same, torch.arange(len(labels), device=labels.device), len(labels)).amin(1)


class _NtXent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, labels: Tensor, temperature: float, kept: Tensor | None, *features: Tensor) -> Tensor:
        with full_precision(labels.device):
            joined = promoted(torch.cat(features))
            norms = torch.linalg.vector_norm(joined, dim=1, keepdim=True)
            lengths = norms.clamp(min=1e-6)
            vectors = joined / lengths
            total, slopes = _pairs(vectors, labels, temperature, kept)
            # d (x / |x|): what lies along x changes nothing, unless |x| is held at its smallest value
            along = (slopes * vectors).sum(1, keepdim=True) * (norms >= 1e-6)
            slopes = slopes.addcmul_(vectors, along, value=-1).div_(lengths)
        ctx.save_for_backward(slopes)
        ctx.size = len(labels)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, None, None, *(slopes * grad).split(ctx.size)


def _pairs(vectors: Tensor, labels: Tensor, temperature: float, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    """The loss () of vectors (M B, d) of length 1, whose labels are (B,), and its slopes in the vectors, (M B, d).

    kept: (M, B) bool, which of them count; None for all.
    """
    copies = len(vectors) // len(labels)
    of_anchors, slopes = torch.cat([labels] * copies), torch.zeros_like(vectors)
    scaled = vectors / temperature
    total, pairs = vectors.new_zeros(()), vectors.new_zeros(())
    counted = None if kept is None else kept.to(vectors.dtype)
    size = max(1, LARGEST // len(vectors))
    for start in range(0, len(vectors), size):
        anchors = slice(start, start + size)
        same = (of_anchors[anchors, None] == labels).to(vectors.dtype)
        cost, slope = _of_anchors(vectors[anchors] @ scaled.T, same, start, 2 / temperature, counted)
        total.add_(cost)
        if counted is None:
            pairs.add_(same.sum(), alpha=copies)
        else:
            pairs.add_((same * counted.sum(0)).sum(1) @ counted.flatten()[anchors])
        slopes[anchors].addmm_(slope, scaled)
        slopes.addmm_(slope.T, scaled[anchors])
    pairs.sub_(len(vectors) if counted is None else counted.sum()).clamp_(min=1)
    return total.div_(pairs), slopes.div_(pairs)


def _of_anchors(
    scores: Tensor, same: Tensor, first: int, apart: float, counted: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The sum () of the losses of pairs, and its slopes in the scores (n, M B) of n anchors; `first` is the first one.

    same: (n, B), 1 where anchor and sample have one label. apart: the largest difference of two scores.
    counted: (M, B), 1 for the vectors that count and 0 for the others; None for all.
    """
    size, by_modality = same.shape[1], same[:, None]
    negative = scores.unflatten(1, (-1, size)).sub(by_modality, alpha=NOTHING)
    if counted is not None:
        negative.sub_(1 - counted, alpha=NOTHING)
    highest = negative.flatten(1).amax(1, keepdim=True)
    above = scores.sub_(highest)
    held = above.clamp(-HELD, HELD)  # so that neither exp nor log leaves the range of numbers
    each = held.exp()
    kept = each.unflatten(1, (-1, size))
    negatives = torch.addcmul(kept, kept, by_modality, value=-1).flatten(1)
    if counted is not None:
        negatives.mul_(counted.flatten())
    rest = negatives.sum(1, keepdim=True)
    total = each + rest
    costs = (total / each).log_()
    if apart > HELD:
        costs += (held - above).clamp_(min=0)
    missed = rest / total  # minus the slope in the score of a positive
    for of_pairs in (costs, missed):
        of_pairs.unflatten(1, (-1, size)).mul_(by_modality)
        if counted is not None:
            of_pairs.mul_(counted.flatten()).mul_(counted.flatten()[first : first + len(same), None])
        of_pairs.diagonal(first).zero_()  # a vector is not a positive of itself
    share = missed.sum(1, keepdim=True) / rest.clamp(min=torch.finfo(rest.dtype).tiny)
    return costs.sum(), negatives.mul_(share).sub_(missed)


def score_bins(scores: Tensor) -> Tensor:
    """Coarser labels of scores (N,) or (N, K): the nearest whole numbers, halves to the even one.

    They are the seven classes of MOSI's scores.

    >>> score_bins(torch.tensor([-2.6, 0.5, 1.2]))
    tensor([-3.,  0.,  1.])
    """
    return scores.round()
