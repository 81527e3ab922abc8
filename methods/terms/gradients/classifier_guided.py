"""What classifiers on the features of each modality say: how fast each one improves, and where it pulls the fusion."""

import torch
from torch import Tensor
from torch.nn import functional

from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.losses import loss_of

ROUNDING = 1e-6  # shares of as many as a million samples differ by more


def right(logits: Tensor, labels: Tensor, task: Task) -> Tensor:
    """How right each prediction is, (..., B): 1 or 0 for a class; of labels, and of the signs of scores, their share.

    logits: (..., B, C), in the user's unit. labels: (B,) or (B, C), in the user's unit.

    >>> right(torch.tensor([[0.3], [-2.0]]), torch.tensor([1.5, 2.0]), Task(None))
    tensor([1., 0.])
    """
    if task.classes is not None:
        return (logits.argmax(-1) == labels).to(logits.dtype)
    return ((logits > 0) == (labels.reshape(len(labels), -1) > 0)).to(logits.dtype).mean(-1)


def slowness(gains: Tensor) -> Tensor:
    """B (M,) = (sum_j d_j - d_m) / sum_j d_j of the gains d (M,), between 0 and 2: small where most is gained.

    Where the gains sum to 0 or less, as far as rounding allows, B is what equal gains give, (M - 1) / M: divided by a
    negative sum it would be large where most is gained.

    >>> slowness(torch.tensor([0.3, 0.1])), slowness(torch.tensor([0.1, -0.2]))
    (tensor([0.2500, 0.7500]), tensor([0.5000, 0.5000]))
    """
    total, count = gains.sum(), len(gains)
    even = torch.full_like(gains, (count - 1) / count)
    return torch.where(total < ROUNDING, even, (total - gains) / total).clamp(0, 2)


def released_slowness(gains: Tensor) -> Tensor:
    """As `slowness`, without bounds: 1e-8 is added to the sum.

    >>> released_slowness(torch.tensor([0.3, -0.2]))
    tensor([-2.0000,  3.0000])
    """
    total = gains.sum() + 1e-8
    return (total - gains) / total


def misalignment(slow: Tensor, cosines: Tensor) -> Tensor:
    """L_gm () = (1 / M) sum_m (|B_m| - B_m cos_m), of B (M,) and cosines (M,).

    >>> misalignment(torch.tensor([0.5, 1.5]), torch.tensor([1.0, 0.0]))
    tensor(0.7500)
    """
    return (slow.abs() - slow * cosines).mean()


def pulls(logits: Tensor, features: Tensor, target: Tensor, task: Task, having: Tensor | None = None) -> Tensor:
    """The gradient (C, d) of the loss of logits (B, C) for the weights of a linear last layer on features (B, d).

    It is (dL / dz)^T f, and can be differentiated again. having: (B,) bool, the samples that count; None: all.
    """
    (slopes,) = torch.autograd.grad(loss_of(task, logits, target, having), logits, create_graph=True)
    return slopes.to(features.dtype).T @ features


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine () of two tensors of one shape; 0 where one of them is 0.

    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(0.7071)
    """
    return functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
