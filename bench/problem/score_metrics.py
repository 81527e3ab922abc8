"""Metrics of one or several scores per sample: outputs (N, 1) with targets (N,), or (N, K) with (N, K)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.class_metrics import accuracy, weighted_f1


def mean_absolute_error(outputs: Tensor, target: Tensor) -> float:
    """The mean of |output - target| over samples, and over scores if there are several.

    >>> import torch
    >>> mean_absolute_error(torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 4.0]))
    0.5
    """
    return float((outputs.reshape(target.shape) - target).abs().double().mean())


def pearson(outputs: Tensor, target: Tensor) -> float:
    """Pearson's correlation coefficient; 0 if outputs or target are constant. Of several scores the mean of each."""
    columns = zip(outputs.unbind(1), target.reshape(outputs.shape).unbind(1), strict=True)
    values = [_pearson(x.double(), y.double()) for x, y in columns]
    return sum(values) / len(values)


def _pearson(x: Tensor, y: Tensor) -> float:
    if (x == x[0]).all() or (y == y[0]).all():  # not by the norm, because the mean may be off by its rounding
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    norm = x.norm() * y.norm()
    return float((x * y).sum() / norm) if norm > 0 else 0.0


def binary_accuracy(outputs: Tensor, target: Tensor) -> float:
    """The share of samples with the right sign; 0 counts as positive. outputs: (N, 1) float; target: (N,) float."""
    return float(((outputs.squeeze(-1) >= 0) == (target >= 0)).double().mean())


def binary_accuracy_nonzero(outputs: Tensor, target: Tensor) -> float:
    """The share of samples with the right sign among those whose target is not 0; UserError if every target is 0.

    outputs: (N, 1) float; target: (N,) float.
    """
    kept = target != 0
    hits = ((outputs.squeeze(-1) > 0) == (target > 0))[kept]
    if not len(hits):
        raise UserError("every target is 0, so that no sample has a sign")
    return float(hits.double().mean())


def accuracy_within(bound: float) -> Callable[[Tensor, Tensor], float]:
    """The share of samples whose output rounds to the same whole number as the target, both cut to [-bound, bound].

    Halves are rounded to the even number. With bounds 3 and 2 these are Acc-7 and Acc-5 of CMU-MOSI, as the released
    code of MulT (arXiv 1906.00295) computes them. The function takes outputs (N, 1) and targets (N,).

    >>> import torch
    >>> accuracy_within(2)(torch.tensor([[2.9], [-0.6], [0.2]]), torch.tensor([1.6, 0.4, -0.4]))
    0.6666666666666666
    """

    def compute(outputs: Tensor, target: Tensor) -> float:
        mine, theirs = (x.clamp(-bound, bound).round() for x in (outputs.squeeze(-1), target))
        return float((mine == theirs).double().mean())

    return compute


def accuracy_in(bounds: Sequence[float]) -> Callable[[Tensor, Tensor], float]:
    """The share of samples whose output is in the interval of the target, as `_intervals` numbers them.

    With the bounds 0; -.1, .1; and -.7, -.1, .1, .7 these are Acc-2, Acc-3 and Acc-5 of CH-SIMS, as the released code
    of MMSA (github.com/thuiar/MMSA, metricsTop.py) computes them. The function takes outputs (N, 1) and targets (N,).

    >>> accuracy_in((-0.1, 0.1))(torch.tensor([[0.3], [0.1], [-0.4]]), torch.tensor([0.8, 0.2, -0.1]))
    0.6666666666666666
    """
    return lambda outputs, target: accuracy(*_intervals(outputs, target, bounds))


def weighted_f1_in(bounds: Sequence[float]) -> Callable[[Tensor, Tensor], float]:
    """The mean F1 of the intervals, each weighted by its share of the target; with the bound 0 the F1 of CH-SIMS.

    Arguments and source as those of `accuracy_in`.
    """
    return lambda outputs, target: weighted_f1(*_intervals(outputs, target, bounds))


def _intervals(outputs: Tensor, target: Tensor, bounds: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The intervals of outputs, one-hot (N, I), and of targets, (N,) int64, each without its lower bound.

    Compared as float32, as .1 of a file in float32 is not .1 in float64, and would be beyond its bound.
    """
    edges = torch.tensor(bounds, device=outputs.device)
    mine, theirs = (torch.bucketize(x.float().contiguous(), edges) for x in (outputs.squeeze(-1), target))
    return F.one_hot(mine, len(bounds) + 1).float(), theirs
