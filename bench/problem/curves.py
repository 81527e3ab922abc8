"""Areas under curves of scores by which samples are ranked: the ROC curve's, and average precision.

Written here, not taken from torchmetrics, whose import takes two seconds and brings 1,400 modules into every worker; a
test compares the two.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mcr_bench.bench.errors import UserError

LARGEST = 2**20  # numbers of a temporary tensor: of more columns than fit, one group follows the other


class Curves(NamedTuple):
    """The counts of C rankings of N samples, at every sample from the highest score on.

    Samples of equal scores are counted together, so that the order of equal ones does not matter.

    hits: (C, N), the number of positive samples whose score is not lower.
    misses: (C, N), the same of negative samples.
    """

    hits: Tensor
    misses: Tensor


def mean_area(scores: Tensor, positive: Tensor) -> float:
    """The mean over columns of the area under the ROC curve. scores: (N, C); positive: (N, C) bool.

    The area is the share of pairs of a positive and a negative sample in which the positive one has the higher score;
    equal scores count one half. Columns whose samples are all positive or all negative have none and do not count.
    UserError if no column counts, or scores are nan.

    >>> mean_area(torch.tensor([[0.1], [0.4], [0.35], [0.8]]), torch.tensor([[False], [False], [True], [True]]))
    0.75
    """
    return _mean(_areas(curves) for curves in _curves(scores, positive))


def mean_average_precision(scores: Tensor, positive: Tensor) -> float:
    """The mean over columns of the average precision: sum_n (R_n - R_{n-1}) P_n over thresholds, not interpolated.

    scores: (N, C); positive: (N, C) bool. Columns count as in `mean_area`.

    >>> mean_average_precision(torch.tensor([[0.9], [0.5], [0.1]]), torch.tensor([[True], [False], [True]]))
    0.8333333333333333
    """
    return _mean(_precisions(curves) for curves in _curves(scores, positive))


def _areas(curves: Curves) -> Tensor:
    x, y = curves.misses, curves.hits
    doubled = (_steps(x) * (2 * y - _steps(y))).sum(1)
    return doubled / (2 * x[:, -1] * y[:, -1])


def _precisions(curves: Curves) -> Tensor:
    hits, all_above = curves.hits, curves.hits + curves.misses
    return (_steps(hits) * hits / all_above).sum(1) / hits[:, -1]


def _steps(counts: Tensor) -> Tensor:
    """By how much counts (C, N) grow at each sample."""
    return torch.diff(counts, dim=1, prepend=torch.zeros_like(counts[:, :1]))


def _mean(values: Iterator[Tensor]) -> float:
    every = torch.cat(list(values))
    if not len(every):
        raise UserError("the samples of each class or label are all positive or all negative, so none can be ranked")
    return float(every.mean())


def _curves(scores: Tensor, positive: Tensor) -> Iterator[Curves]:
    """The curves of the columns that have positive and negative samples, in groups of at least one column."""
    if scores.isnan().any():
        raise UserError("a prediction is nan, which cannot be ranked")
    counts = positive.sum(0)
    counted = (counts > 0) & (counts < len(positive))
    width = max(1, LARGEST // max(1, len(scores)))
    columns = zip(scores.T[counted].split(width), positive.T[counted].split(width), strict=True)
    yield from (_of_group(*group) for group in columns)


def _of_group(scores: Tensor, positive: Tensor) -> Curves:
    ordered, order = (-scores).contiguous().sort(1)
    right = positive.gather(1, order).double()
    last = torch.searchsorted(ordered, ordered, right=True) - 1  # the last sample of an equal score
    hits = right.cumsum(1).gather(1, last)
    return Curves(hits, last + 1 - hits)
