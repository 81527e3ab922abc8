"""Metrics of several labels per sample. Everywhere logits are (N, L) floats and targets (N, L) of 0 and 1.

A label is predicted where its probability is above one half, that is, where its logit is above 0.
"""

from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.curves import mean_area, mean_average_precision


def subset_accuracy(logits: Tensor, target: Tensor) -> float:
    """The share of samples all of whose labels are right (exact match).

    >>> import torch
    >>> subset_accuracy(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), torch.tensor([[1, 1], [1, 1]]))
    0.5
    """
    return float(((logits > 0) == (target > 0)).all(1).double().mean())


def hamming_accuracy(logits: Tensor, target: Tensor) -> float:
    """The share of labels, of all samples, that are right (1 minus the Hamming loss).

    >>> import torch
    >>> hamming_accuracy(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), torch.tensor([[1, 1], [1, 1]]))
    0.75
    """
    return float(((logits > 0) == (target > 0)).double().mean())


def micro_f1(logits: Tensor, target: Tensor) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) with the counts of all labels together; UserError if no label is true or predicted.

    >>> import torch
    >>> micro_f1(torch.tensor([[2.0, 1.0], [-1.0, 3.0]]), torch.tensor([[1, 0], [0, 1]]))
    0.8
    """
    hits, seen, _ = _counts(logits, target)
    if not seen.sum():
        raise UserError("no label is true or predicted in any sample, so F1 is 0 / 0")
    return float(2 * hits.sum() / seen.sum())


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """The mean over labels of F1; labels that are neither true nor predicted do not count, as with classes.

    UserError if no label counts.
    """
    hits, seen, _ = _counts(logits, target)
    if not seen.any():
        raise UserError("no label is true or predicted in any sample, so F1 is 0 / 0")
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def weighted_f1(logits: Tensor, target: Tensor) -> float:
    """The mean over labels of F1, each weighted by the number of samples that have it; UserError if none has any."""
    hits, seen, present = _counts(logits, target)
    if not present.any():
        raise UserError("no sample has a label, so labels have no weights")
    return float((2 * hits / seen.clamp(min=1) * present).sum() / present.sum())


def auroc(logits: Tensor, target: Tensor) -> float:
    """The mean over labels of the area under the ROC curve; labels that no sample has, or all have, do not count.

    UserError if no label counts.
    """
    return mean_area(logits.double(), target > 0)


def average_precision(logits: Tensor, target: Tensor) -> float:
    """The mean over labels of the average precision (mAP); labels count as in `auroc`."""
    return mean_average_precision(logits.double(), target > 0)


def _counts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(L,) each, float64: hits, how often a label is predicted plus how often it is true, and how often it is true."""
    predicted, true = logits > 0, target > 0
    hits, present = ((predicted & true).double().sum(0), true.double().sum(0))
    return hits, predicted.double().sum(0) + present, present
