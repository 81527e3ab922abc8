"""Pearson's correlation of predictions and targets that come batch by batch."""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 10.0  # a deviation of so many times the rounding of the mean counts as none


class Comoments(NamedTuple):
    """What the correlations of predictions x and targets y depend on; sums are of deviations from the mean.

    samples: their number, ().
    mean_x: (S, C), of S kinds of prediction with C outputs.
    mean_y: (C,).
    xx: (S, C), the sum of squares of x.
    yy: (C,), the sum of squares of y.
    xy: (S, C), the sum of products.
    """

    samples: Tensor
    mean_x: Tensor
    mean_y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor


def comoments(x: Tensor, y: Tensor) -> Comoments:
    """The comoments of predictions x (S, B, C) and targets y (B, C) of one batch."""
    mean_x, mean_y = x.mean(1), y.mean(0)
    dx, dy = x - mean_x[:, None], y - mean_y
    count = x.new_full((), x.shape[1])
    return Comoments(count, mean_x, mean_y, dx.square().sum(1), dy.square().sum(0), (dx * dy).sum(1))


def merged(a: Comoments, b: Comoments) -> Comoments:
    """The comoments of the samples of both (Chan, Golub and LeVeque, "Updating formulae", 1979).

    >>> x, y = torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[0.0], [1.0], [2.0]])
    >>> both = merged(comoments(x[:, :2], y[:2]), comoments(x[:, 2:], y[2:]))
    >>> both.mean_x, both.xy, comoments(x, y).xy
    (tensor([[3.]]), tensor([[5.]]), tensor([[5.]]))
    """
    count = a.samples + b.samples
    dx, dy, joined = b.mean_x - a.mean_x, b.mean_y - a.mean_y, a.samples * b.samples / count
    return Comoments(
        count,
        a.mean_x + dx * (b.samples / count),
        a.mean_y + dy * (b.samples / count),
        a.xx + b.xx + dx.square() * joined,
        a.yy + b.yy + dy.square() * joined,
        a.xy + b.xy + dx * dy * joined,
    )


def pearson(one: Comoments) -> Tensor:
    """The correlations (S, C); 0 where predictions or targets are all equal.

    >>> x = torch.tensor([[[1.0], [2.0]], [[3.0], [3.0]]])
    >>> pearson(comoments(x, torch.tensor([[5.0], [7.0]]))).round(decimals=4)
    tensor([[1.],
            [0.]])
    """
    x, y = _spread(one.xx, one.mean_x, one.samples), _spread(one.yy, one.mean_y, one.samples)
    both = x * y
    return torch.where(both > 0, one.xy / torch.where(both > 0, both, 1.0), 0.0)


def _spread(squares: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    """The square root of a sum of squares; 0 where it is within the rounding of the mean."""
    spread = squares.sqrt()
    return torch.where(spread > ROUNDING * torch.finfo(mean.dtype).eps * mean.abs() * count.sqrt(), spread, 0.0)
