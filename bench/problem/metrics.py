"""Metrics of logits against targets in the user's unit; each knows its direction, which selection and tables read."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mcr_bench.bench.errors import unknown
from mcr_bench.bench.problem.missing import diagnostic
from mcr_bench.bench.task import Task

TOTAL_LOSS = "total_loss"  # needs the own heads' logits too, so it is no `Metric`: `evaluate` adds it


@dataclass(frozen=True)
class Metric:
    """compute(logits (N, C), target (N,)) -> value. share: a share of 1, whose differences are reported in points."""

    name: str
    higher_is_better: bool
    compute: Callable[[Tensor, Tensor], float]
    share: bool = False


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of samples whose largest logit is the target's."""
    return float((logits.argmax(-1) == target).double().mean())


def macro_f1(logits: Tensor, target: Tensor) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN); classes neither present nor predicted do not count."""
    classes = logits.shape[-1]
    predicted = logits.argmax(-1)
    hits = torch.bincount(target[predicted == target], minlength=classes).double()
    seen = torch.bincount(target, minlength=classes) + torch.bincount(predicted, minlength=classes)
    return float((2 * hits[seen > 0] / seen[seen > 0]).mean())


def expected_calibration_error(logits: Tensor, target: Tensor, bins: int = 15) -> float:
    """ECE over equal-width bins of the winning probability (Guo et al., ICML 2017, 15 bins)."""
    confidence, predicted = logits.double().softmax(-1).max(-1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = (predicted == target).double() - confidence
    return float(torch.zeros(bins, dtype=torch.double).index_add_(0, place.cpu(), gap.cpu()).abs().sum() / len(target))


def mean_absolute_error(outputs: Tensor, target: Tensor) -> float:
    return float((outputs.squeeze(-1) - target).abs().double().mean())


def pearson(outputs: Tensor, target: Tensor) -> float:
    """Pearson's r; 0 where either side is constant."""
    x, y = outputs.squeeze(-1).double(), target.double()
    if (x == x[0]).all() or (y == y[0]).all():  # not by the norm: a mean may be off by its rounding
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    norm = x.norm() * y.norm()
    return float((x * y).sum() / norm) if norm > 0 else 0.0


def binary_accuracy(outputs: Tensor, target: Tensor) -> float:
    """Negative against non-negative, over all samples."""
    return float(((outputs.squeeze(-1) >= 0) == (target >= 0)).double().mean())


def binary_accuracy_nonzero(outputs: Tensor, target: Tensor) -> float:
    """Negative against positive, over samples whose target is not zero; 0 where there is none."""
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
    """The metrics of a task, loss (the training loss) last; given the user's unit, loss is in the learned one."""
    named = REGRESSION if task.regression else CLASSIFICATION
    return (*named, Metric("loss", False, lambda logits, target: _loss(task, logits, target)))


def _loss(task: Task, logits: Tensor, target: Tensor) -> float:
    return float(task.loss(task.learned(logits), task.learned(target)))


def higher_is_better(monitor: str, task: Task) -> bool:
    """The direction of what may select an epoch: a metric of the task, or `total_loss`; UserError for another name."""
    known = {m.name: m.higher_is_better for m in metrics_of(task)} | {TOTAL_LOSS: False}
    if monitor not in known:
        raise unknown("metric", monitor, known)
    return known[monitor]


def metric(name: str, task: Task) -> Metric:
    """One of the task's metrics by name; UserError for another name."""
    known = {m.name: m for m in metrics_of(task)}
    if name not in known:
        raise unknown("metric", name, known)
    return known[name]


def score(
    logits: Tensor, target: Tensor, task: Task, needed: Collection[str] = (), missing: dict[str, str] | None = None
) -> dict[str, float]:
    """Every metric of the task. With `missing`, one that fails is left out for the reason noted there, but `needed`."""
    found = {}
    for one in metrics_of(task):
        if missing is None or one.name in needed:
            found[one.name] = one.compute(logits, target)
        elif (value := diagnostic(missing, one.name, partial(one.compute, logits, target))) is not None:
            found[one.name] = value
    return found
