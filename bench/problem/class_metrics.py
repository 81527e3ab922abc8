"""Metrics of one class per sample. Everywhere logits are (N, C) floats and targets (N,) int64."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.problem.curves import mean_area, mean_average_precision


def accuracy(logits: Tensor, target: Tensor) -> float:
    """The share of samples whose largest logit is that of the target. logits: (N, C) float; target: (N,) int64.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return float((logits.argmax(-1) == target).double().mean())


def balanced_accuracy(logits: Tensor, target: Tensor) -> float:
    """The mean over the classes in the target of the share of their samples that are right.

    >>> balanced_accuracy(torch.tensor([[2.0, 1.0], [2.0, 1.0], [2.0, 3.0], [2.0, 1.0]]), torch.tensor([0, 0, 0, 1]))
    0.3333333333333333
    """
    hits, _, present = _counts(logits, target)
    return float((hits[present > 0] / present[present > 0]).mean())


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN). logits: (N, C) float; target: (N,) int64.

    Classes that are neither in the target nor predicted do not count.
    """
    hits, predicted, present = _counts(logits, target)
    seen = present + predicted
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def weighted_f1(logits: Tensor, target: Tensor) -> float:
    """The mean over classes of F1, each weighted by its share of the target.

    >>> round(weighted_f1(torch.eye(2)[[0, 0, 0, 1]], torch.tensor([0, 0, 1, 1])), 4)  # 4/5 and 2/3, two samples each
    0.7333
    """
    hits, predicted, present = _counts(logits, target)
    seen = (present + predicted).clamp(min=1)
    return float((2 * hits / seen * present).sum() / len(target))


def expected_calibration_error(logits: Tensor, target: Tensor, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the winning probability (Guo et al., ICML 2017, 15 bins).

    logits: (N, C) float; target: (N,) int64.
    """
    confidence, predicted = logits.double().softmax(-1).max(-1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predicted == target).double() - confidence
    return float(torch.zeros(bins, dtype=torch.double).index_add_(0, place.cpu(), gap.cpu()).abs().sum() / len(target))


def auroc(logits: Tensor, target: Tensor) -> float:
    """The area under the ROC curve of class 1 against class 0; of more classes the mean of each against the rest.

    Samples are ranked by a class's probability, computed in float64. A class that no sample has, or all have, does not
    count; UserError if no class counts.
    """
    if logits.shape[1] == 2:
        wide = logits.double()
        return mean_area((wide[:, 1] - wide[:, 0])[:, None], (target == 1)[:, None])
    return mean_area(*_one_against_rest(logits, target))


def average_precision(logits: Tensor, target: Tensor) -> float:
    """The mean over classes of the average precision of each against the rest (mAP); classes count as in `auroc`."""
    return mean_average_precision(*_one_against_rest(logits, target))


def _one_against_rest(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, C) of each class, and which samples are of it, (N, C) bool."""
    return logits.double().log_softmax(-1), F.one_hot(target, logits.shape[1]).bool()


def _counts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(C,) each: hits (float64), and how often a class is predicted and present (int64)."""
    classes, predicted = logits.shape[-1], logits.argmax(-1)
    hits = torch.bincount(target[predicted == target], minlength=classes).double()
    return hits, torch.bincount(predicted, minlength=classes), torch.bincount(target, minlength=classes)
