"""What a constant prediction scores: the floor that a method has to beat to have learned anything."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.problem.metrics import named_metrics
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.task import Task

FLOOR = "floor/"  # prefix of metric names in the record


def floor_metrics(train: Tensor, test: Tensor, task: Task | None = None) -> dict[str, float]:
    """`floor/METRIC` -> what the best constant for the training labels scores on the test labels.

    The constant of class indices (K,) is the share of each class as its probability, so that the majority class is
    predicted, or the lowest one of several that are equally frequent. That of labels (K, L) is the share of each label
    as its probability. The constant of scores (K,) or (K, S) is their median, of each score its own, which minimises
    the mean absolute error. Metrics that are not defined for it are left out.

    task: what is learned; without it, labels of whole numbers or bools are classes or, with two axes, labels, and
    floats are scores.

    >>> floor_metrics(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1, 1]))["floor/accuracy"]
    0.75
    """
    train, test = train.cpu(), test.cpu()
    task = task or _task_of(train, test)
    outputs = _constant(task, train, test).expand(len(test), -1)
    values = {m.name: diagnostic({}, m.name, partial(m.of, outputs, test)) for m in named_metrics(task)}
    return {f"{FLOOR}{name}": value for name, value in values.items() if value is not None}


def _task_of(train: Tensor, test: Tensor) -> Task:
    several = train.shape[1] if train.ndim > 1 else None
    if train.is_floating_point():
        return Task(None, scores=several)
    return Task(None, labels=several) if several else Task(int(max(train.max(), test.max())) + 1)


def _constant(task: Task, train: Tensor, test: Tensor) -> Tensor:
    """(C,) float64: the outputs for every sample."""
    if task.regression:
        return torch.from_numpy(np.median(train.double().reshape(len(train), -1).numpy(), axis=0))
    if task.multi_label:
        return train.double().mean(0).logit()
    classes = int(max(train.max(), test.max())) + 1
    return (torch.bincount(train, minlength=classes).double() / len(train)).log()
