"""The product of the distributions that several experts predict."""

import torch
from torch import Tensor

from mcr_bench.bench.task import Task


def product(joint: Tensor, experts: Tensor, task: Task, having: Tensor | None = None) -> Tensor:
    """The logits (B, C) of the normalised product of all experts' distributions: z + sum_m u_m.

    In a regression it is the mean of all outputs, the mean of a product of normal distributions of equal variance.

    joint: z, (B, C). experts: u, (M, B, C). having: (M, B) bool, which samples have each modality, if some lack one; a
    sample counts the experts of those that it has.

    >>> z, u = torch.tensor([[1.0]]), torch.tensor([[[2.0]], [[6.0]]])
    >>> product(z, u, Task(None, labels=1)), product(z, u, Task(None))
    (tensor([[9.]]), tensor([[3.]]))
    """
    kept = torch.ones_like(experts[..., 0], dtype=torch.bool) if having is None else having
    total = joint + torch.where(kept[..., None], experts, 0.0).sum(0)
    return total / (1 + kept.sum(0))[:, None] if task.regression else total
