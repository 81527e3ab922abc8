"""How far a student's predictions are from a teacher's: what distillation of outputs minimises."""

import torch
from torch import Tensor
from torch.nn import functional

from mcr_bench.bench.task import Task


def output_distance(student: Tensor, teacher: Tensor, task: Task, temperature: float = 1.0) -> Tensor:
    """The distance (B,) of a student's logits (B, C) from a teacher's (B, C), into which no gradient flows.

    Of classes it is T^2 KL(softmax(teacher / T) || softmax(student / T)); of labels the mean of that of each; of scores
    the mean squared difference.

    >>> output_distance(torch.zeros(1, 2), torch.tensor([[99.0, 0.0]]), Task(2)).exp()
    tensor([2.])
    """
    teacher = teacher.detach()
    if task.regression:
        return (student - teacher).square().mean(1)
    mine, theirs = (log_probabilities(z / temperature, task) for z in (student, teacher))
    divergences = (theirs.exp() * (theirs - mine)).sum((1, 2)) / len(mine[0])
    return temperature**2 * divergences


def log_probabilities(logits: Tensor, task: Task) -> Tensor:
    """The log-probabilities (..., K, J) of K distributions over J values each: one over classes, or one for each label.

    logits: (..., C).

    >>> log_probabilities(torch.zeros(2, 3), Task(None, labels=3)).exp().shape
    torch.Size([2, 3, 2])
    """
    if task.multi_label:
        return torch.stack([functional.logsigmoid(logits), functional.logsigmoid(-logits)], -1)
    return logits.log_softmax(-1)[..., None, :]
