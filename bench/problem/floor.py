"""What a constant scores: the floor that a method has to beat to have learned anything."""

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.problem.metrics import CLASSIFICATION, REGRESSION, Metric

FLOOR = "floor/"  # of metric names in the record


def floor_metrics(known: Tensor, test: Tensor) -> dict[str, float]:
    """`floor/METRIC` -> what the best constant for the labels `known` (K,) scores on the labels `test` (N,).

    Classes (int64): the majority class, the lowest where several are largest, with the classes' shares as its
    probabilities. Scores (float): the median, as the mean absolute error wants it.
    """
    known, test = known.cpu(), test.cpu()
    if known.is_floating_point():
        constant = torch.tensor([np.median(known.double().numpy())], dtype=torch.float64)
    else:
        counts = torch.bincount(known, minlength=int(max(known.max(), test.max())) + 1)
        constant = (counts.double() / len(known)).log()
    outputs = constant.expand(len(test), -1)
    metrics: tuple[Metric, ...] = REGRESSION if known.is_floating_point() else CLASSIFICATION
    return {f"{FLOOR}{metric.name}": metric.compute(outputs, test) for metric in metrics}
