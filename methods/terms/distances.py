"""How far outputs are from reference outputs, and the slopes of that distance in closed form.

Slopes are computed with the value, so that a distance of all coalitions and perturbed copies costs about ten operations
on tensors of their size, forward and backward together. Classes lie on the first axis: a softmax over a short last axis
would be many times slower on a CPU.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mcr_bench.bench.task import Task


class Slopes(NamedTuple):
    """Distances D_s of outputs from their reference, and their slopes.

    values: (S,).
    outputs: the slope of D_s in the outputs, (C, S, P, B), to be multiplied by `share`.
    reference: the slope of D_s in the reference, (C, S, B), to be multiplied by `share`.
    share: the weight of one entry in the mean.
    """

    values: Tensor
    outputs: Tensor
    reference: Tensor
    share: float


Distance = Callable[[Tensor, Tensor], Slopes]


def divergence_slopes(logits: Tensor, reference: Tensor) -> Slopes:
    """D_s = the mean over P and B of JS(softmax(logits_s), softmax(reference)) in nats, between 0 and ln 2.

    logits: (C, S, P, B). reference: (C, B).

    With a = log p - log m and m = (p + r) / 2 the slope in a logit of p is p (a - sum_c p a) / 2, and likewise for r.
    Log-probabilities are those of `log_softmax`, so saturated logits give finite values and slopes.
    """
    log_p, log_r = logits.log_softmax(0), reference.log_softmax(0)[:, None]  # (C, S, P, B), (C, 1, B)
    p, r = log_p.exp(), log_r.exp()
    # Where both probabilities underflow, both terms are 0 times a finite number.
    half = (0.5 * r).clamp_(min=torch.finfo(r.dtype).tiny)
    log_m = torch.add(half[:, None], p, alpha=0.5).log_()
    of_r = torch.sub(log_r * logits.shape[2], log_m.sum(2)).mul_(r)  # (C, S, B), summed over P
    of_p = log_p.sub_(log_m).mul_(p)
    sum_p, sum_r = of_p.sum(0), of_r.sum(0)  # (S, P, B), (S, B)
    share = 0.5 / sum_p[0].numel()
    return Slopes(
        (sum_p.sum((1, 2)) + sum_r.sum(1)).mul_(share),
        of_p.addcmul_(p, sum_p, value=-1),
        of_r.addcmul_(r, sum_r, value=-1),
        share,
    )


def squared_slopes(outputs: Tensor, reference: Tensor) -> Slopes:
    """D_s = the mean over C, P and B of (outputs_s - reference)^2. outputs: (C, S, P, B). reference: (C, B).

    >>> squared_slopes(torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([[1.0, 1.0]])).values
    tensor([2.])
    """
    away = outputs - reference[:, None, None]
    count = away[:, 0].numel()
    return Slopes(away.square().sum((0, 2, 3)).div_(count), away, -away.sum(2), 2 / count)


def label_slopes(logits: Tensor, reference: Tensor) -> Slopes:
    """As `divergence_slopes`, of L labels: the divergence of the two values of each, averaged over labels too.

    logits: (L, S, P, B). reference: (L, B). A label is a classification by the logits z and 0, so labels are taken as
    further samples.
    """
    labels = len(logits)
    rows = logits.permute(1, 2, 0, 3).flatten(2)  # (S, P, L B)
    slopes = divergence_slopes(_beside_zero(rows), _beside_zero(reference.flatten()))
    return slopes._replace(
        outputs=slopes.outputs[0].unflatten(2, (labels, -1)).permute(2, 0, 1, 3),
        reference=slopes.reference[0].unflatten(1, (labels, -1)).permute(1, 0, 2),
    )


def _beside_zero(logits: Tensor) -> Tensor:
    """(2, ...): logits (...) and zeros."""
    return torch.stack((logits, torch.zeros_like(logits)))


def slopes_of(task: Task) -> Distance:
    """The distance by which the game compares the outputs of a task: of scores it is the squared difference."""
    if task.regression:
        return squared_slopes
    return label_slopes if task.multi_label else divergence_slopes


class _Mean(torch.autograd.Function):
    """The distance () of outputs (C, 1, P, B) from a reference (C, B)."""

    @staticmethod
    def forward(ctx: Any, distance: Distance, outputs: Tensor, reference: Tensor) -> Tensor:
        values, slopes, of_reference, ctx.share = distance(outputs, reference)
        ctx.save_for_backward(slopes, of_reference[:, 0])
        return values.squeeze(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        slopes, of_reference = ctx.saved_tensors
        share = grad * ctx.share
        return None, share * slopes, share * of_reference


def mean_distance(distance: Distance, outputs: Tensor, reference: Tensor) -> Tensor:
    """The distance () of outputs (..., C) from a reference (..., C), broadcast to each other, in full precision."""
    dtype = torch.promote_types(torch.promote_types(outputs.dtype, reference.dtype), torch.float32)
    q, z = outputs.to(dtype), reference.to(dtype)
    if q.shape[q.ndim - z.ndim :] != z.shape:
        q, z = torch.broadcast_tensors(q, z)
    rows = z.reshape(-1, z.shape[-1])
    copies = q.reshape(-1, *rows.shape)  # (P, B, C)
    value: Tensor = _Mean.apply(distance, copies.permute(2, 0, 1).unsqueeze(1), rows.T)  # type: ignore[no-untyped-call]
    return value
