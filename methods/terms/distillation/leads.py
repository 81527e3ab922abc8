"""Of two modalities the one that is ahead on a sample, how far it is, and what the other one learns of it."""

import torch
from torch import Tensor

from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.distillation.divergence import output_distance


def leads(logits: Tensor, target: Tensor) -> Tensor:
    """How far one modality is ahead of the other on each sample, (B,): max_m p_m(y) - min_m p_m(y), p = softmax(h).

    It is 0 where neither predicts the right class. logits: (2, B, C). target: (B,) class indices.

    >>> logits = torch.tensor([[[0.8, 0.2], [0.4, 0.6]], [[0.5, 0.5], [0.3, 0.7]]]).log()
    >>> leads(logits, torch.tensor([0, 0]))  # of the second sample both are wrong
    tensor([0.3000, 0.0000])
    """
    true = _true_probabilities(logits, target)
    right = (logits.argmax(-1) == target).any(0)
    return torch.where(right, true.max(0).values - true.min(0).values, 0.0)


def guidance(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """KL(p_d || p_w) of each sample, (B,), without gradient to d, which has the larger true-class probability.

    logits: (2, B, C). target: (B,) class indices.

    >>> guidance(torch.tensor([[[0.0, 99.0]], [[0.0, 0.0]]]), torch.tensor([1]), Task(2)).exp()
    tensor([2.])
    """
    first = torch.sub(*_true_probabilities(logits.detach(), target))[:, None] > 0
    one, other = logits
    return output_distance(torch.where(first, other, one), torch.where(first, one, other), task)


def released_guidance(logits: Tensor, target: Tensor) -> Tensor:
    """What the released code has in place of KL, (B,): p_w(y) (log p_w(y) - p_d(y)), with gradients to both.

    logits: (2, B, C). target: (B,) class indices.

    >>> released_guidance(torch.zeros(2, 1, 2), torch.tensor([1]))  # (log 0.5 - 0.5) / 2
    tensor([-0.5966])
    """
    true = _of_true_class(logits.log_softmax(-1), target)
    weak = true.min(0).values  # a logarithm, whose slope is finite where the probability underflows
    return weak.exp() * (weak - true.max(0).values.exp())


def _true_probabilities(logits: Tensor, target: Tensor) -> Tensor:
    """(2, B), of logits (2, B, C) and classes (B,)."""
    return _of_true_class(logits.softmax(-1), target)


def _of_true_class(values: Tensor, target: Tensor) -> Tensor:
    """(2, B), of values of classes (2, B, C) and classes (B,)."""
    return values.gather(-1, target.expand(len(values), -1)[..., None])[..., 0]
