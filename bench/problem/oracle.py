"""The oracle of several predictions: for every sample the best of them, which no rule that must choose can surpass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mcr_bench.bench.task import Task


def sample_errors(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """The error of each sample, (N,) float64: 1 for a wrong class and 0 for the right one, or the absolute error.

    logits: (N, C), or scores (N, 1). target: (N,). Both are in the user's unit.
    """
    if task.regression:
        return (logits.squeeze(-1).double() - target).abs()
    return (logits.argmax(-1) != target).double()


def oracle(predictions: Sequence[Tensor], target: Tensor, task: Task) -> float:
    """The task's first metric of the best prediction for each sample: an accuracy, or a mean absolute error.

    predictions: each (N, C). target: (N,).

    >>> first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> oracle([first, second], torch.tensor([1, 1]), Task(2))
    0.5
    """
    least = torch.stack([sample_errors(logits, target, task) for logits in predictions]).min(0).values
    mean = float(least.mean())
    return mean if task.regression else 1.0 - mean
