"""Metrics of logits against targets in the user's unit; selection and tables read the direction of each."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mcr_bench.bench.errors import unknown
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.task import Task

TOTAL_LOSS = "total_loss"  # not a `Metric`, because it needs the logits of the own heads too: `evaluate` adds it


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    name: its name in settings, the record and tables.
    higher_is_better: its direction.
    compute: (logits (N, C) or scores (N, 1), target (N,)) -> value.
    share: whether it is a share of 1, so that differences are reported in percentage points.
    """

    name: str
    higher_is_better: bool
    compute: Callable[[Tensor, Tensor], float]
    share: bool = False


def accuracy(logits: Tensor, target: Tensor) -> float:
    """The share of samples whose largest logit is that of the target. logits: (N, C) float; target: (N,) int64.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    0.5
    """
    return float((logits.argmax(-1) == target).double().mean())


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN). logits: (N, C) float; target: (N,) int64.

    Classes that are neither in the target nor predicted do not count.
    """
    classes = logits.shape[-1]
    predicted = logits.argmax(-1)
    hits = torch.bincount(target[predicted == target], minlength=classes).double()
    seen = torch.bincount(target, minlength=classes) + torch.bincount(predicted, minlength=classes)
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def expected_calibration_error(logits: Tensor, target: Tensor, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the winning probability (Guo et al., ICML 2017, 15 bins).

    logits: (N, C) float; target: (N,) int64.
    """
    confidence, predicted = logits.double().softmax(-1).max(-1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predicted == target).double() - confidence
    return float(torch.zeros(bins, dtype=torch.double).index_add_(0, place.cpu(), gap.cpu()).abs().sum() / len(target))


def mean_absolute_error(outputs: Tensor, target: Tensor) -> float:
    """The mean of |output - target|. outputs: (N, 1) float; target: (N,) float.

    >>> mean_absolute_error(torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 4.0]))
    0.5
    """
    return float((outputs.squeeze(-1) - target).abs().double().mean())


def pearson(outputs: Tensor, target: Tensor) -> float:
    """Pearson's correlation coefficient; 0 if outputs or target are constant. outputs: (N, 1); target: (N,)."""
    x, y = outputs.squeeze(-1).double(), target.double()
    if (x == x[0]).all() or (y == y[0]).all():  # not by the norm, because the mean may be off by its rounding
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    norm = x.norm() * y.norm()
    return float((x * y).sum() / norm) if norm > 0 else 0.0


def binary_accuracy(outputs: Tensor, target: Tensor) -> float:
    """The share of samples with the right sign; 0 counts as positive. outputs: (N, 1) float; target: (N,) float."""
    return float(((outputs.squeeze(-1) >= 0) == (target >= 0)).double().mean())


def binary_accuracy_nonzero(outputs: Tensor, target: Tensor) -> float:
    """The share of samples with the right sign among those whose target is not 0; 0 if every target is 0.

    outputs: (N, 1) float; target: (N,) float.
    """
    kept = target != 0
    hits = ((outputs.squeeze(-1) > 0) == (target > 0))[kept]
    return float(hits.double().mean()) if len(hits) else 0.0


CLASSIFICATION = (
    Metric("accuracy", True, accuracy, share=True),
    Metric("macro_f1", True, macro_f1, share=True),
    Metric("ece", False, expected_calibration_error, share=True),
)
REGRESSION = (
    Metric("mae", False, mean_absolute_error),
    Metric("pearson", True, pearson),
    Metric("binary_accuracy", True, binary_accuracy, share=True),
    Metric("binary_accuracy_nonzero", True, binary_accuracy_nonzero, share=True),
)


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, the training loss last.

    All take values in the user's unit; the loss converts them to the unit that is learned.
    """
    named = REGRESSION if task.regression else CLASSIFICATION
    return (*named, Metric("loss", False, lambda logits, target: _loss(task, logits, target)))


def profit_metrics(task: Task) -> tuple[Metric, ...]:
    """The metrics in which a modality's profit is told: the task's first, and Pearson's correlation of a regression.

    >>> [metric.name for metric in profit_metrics(Task(None))]
    ['mae', 'pearson']
    """
    first, *others = metrics_of(task)
    return (first, *(metric for metric in others if metric.name == "pearson"))


def _loss(task: Task, logits: Tensor, target: Tensor) -> float:
    return float(task.loss(task.learned(logits), task.learned(target)))


def higher_is_better(monitor: str, task: Task) -> bool:
    """Whether higher values of what selects the epoch are better: of a metric of the task, or of `total_loss`.

    UserError for any other name.
    """
    directions = {m.name: m.higher_is_better for m in metrics_of(task)} | {TOTAL_LOSS: False}
    if monitor not in directions:
        raise unknown("metric", monitor, directions)
    return directions[monitor]


def metric(name: str, task: Task) -> Metric:
    """The metric of the task with this name; UserError for any other name."""
    by_name = {m.name: m for m in metrics_of(task)}
    if name not in by_name:
        raise unknown("metric", name, by_name)
    return by_name[name]


def score(
    logits: Tensor, target: Tensor, task: Task, needed: Collection[str] = (), missing: dict[str, str] | None = None
) -> dict[str, float]:
    """Name -> value of every metric of the task. logits: (N, C), or scores (N, 1); target: (N,).

    If `missing` is given, a metric that fails is left out and its reason is added there, except for those that are
    `needed`: their errors are raised.
    """
    values = {}
    for metric in metrics_of(task):
        compute = partial(metric.compute, logits, target)
        if missing is None or metric.name in needed:
            values[metric.name] = compute()
        elif (value := diagnostic(missing, metric.name, compute)) is not None:
            values[metric.name] = value
    return values
