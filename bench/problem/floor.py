"""What a constant prediction scores: the floor that a method has to beat to have learned anything."""

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.problem.metrics import CLASSIFICATION, REGRESSION, Metric

FLOOR = "floor/"  # prefix of metric names in the record


def floor_metrics(train: Tensor, test: Tensor) -> dict[str, float]:
    """`floor/METRIC` -> what the best constant for the training labels (K,) scores on the test labels (N,).

    Labels are class indices (int64) or scores (any floating dtype). The constant of classes is the share of each class
    as its probability, so that the majority class is predicted, or the lowest one of several that are equally frequent.
    The constant of scores is their median, which minimises the mean absolute error.

    >>> floor_metrics(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1, 1]))["floor/accuracy"]
    0.75
    """
    train, test = train.cpu(), test.cpu()
    regression = train.is_floating_point()
    metrics: tuple[Metric, ...] = REGRESSION if regression else CLASSIFICATION
    constant = _median(train) if regression else _log_shares(train, int(max(train.max(), test.max())) + 1)
    outputs = constant.expand(len(test), -1)
    return {f"{FLOOR}{metric.name}": metric.compute(outputs, test) for metric in metrics}


def _median(scores: Tensor) -> Tensor:
    """(1,) float64"""
    return torch.tensor([np.median(scores.double().numpy())], dtype=torch.float64)


def _log_shares(labels: Tensor, classes: int) -> Tensor:
    """(classes,) float64: the logarithm of each class's share of the labels."""
    return (torch.bincount(labels, minlength=classes).double() / len(labels)).log()
