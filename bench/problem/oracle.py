"""The oracle of several predictions: for every sample the best of them, which no rule that must choose can surpass."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from mcr_bench.bench.problem.metrics import metrics_of
from mcr_bench.bench.task import Task

SAME = 1e-6  # a metric is a mean over samples if it differs from that mean by the rounding of float32


def sample_errors(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """The error of each sample, (N,) float64: 0 for the right class or all labels right, else 1; or the absolute error.

    Of several scores per sample it is the mean. logits: (N, C). target: (N,), or (N, C) of labels and scores. Both are
    in the user's unit.
    """
    made = task.prediction(logits).reshape(len(target), -1)
    right = target.reshape(len(target), -1)
    return (made.double() - right).abs().mean(1) if task.regression else (made != right).any(1).double()


def oracle(
    fused: Tensor,
    others: Sequence[Tensor],
    target: Tensor,
    task: Task,
    having: Sequence[Tensor | None] | None = None,
) -> dict[str, float]:
    """Metric -> its value if for each sample the best of all predictions were taken.

    The metric is the first of the task that is a mean over samples, such as the accuracy or the mean absolute error.
    ValueError where none is, or a fused prediction is nan.

    fused, others: predictions, each (N, C). target: as in `sample_errors`.
    having: (N,) bool for each of the others, the samples for which it counts; None for all.

    >>> fused, other = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> oracle(fused, [other], torch.tensor([1, 1]), Task(2))
    {'accuracy': 0.5}
    """
    if fused.isnan().any():
        raise ValueError("a prediction is nan")
    counted = [None, *(having or [None] * len(others))]
    rows = [sample_errors(logits, target, task) for logits in (fused, *others)]
    errors = torch.stack([e if has is None else e.where(has, inf) for e, has in zip(rows, counted, strict=True)])
    before, after = float(errors[0].mean()), float(errors.min(0).values.mean())
    for metric in metrics_of(task):
        value = metric.compute(fused, target)
        if metric.higher_is_better and abs(1 - before - value) <= SAME:
            return {metric.name: 1 - after}
        if not metric.higher_is_better and abs(before - value) <= SAME * max(1.0, abs(value)):
            return {metric.name: after}
    raise ValueError("no metric of this task is a mean over samples")
