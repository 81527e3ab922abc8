"""How far inputs may move before a sum of classifiers decides otherwise, and margins that such a radius grows with."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.training.reader import reading
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.terms.certified.unit_rows import UnitRowsSum
from mcr_bench.methods.terms.losses import ALL, stacked
from mcr_bench.methods.terms.modes import evaluation_mode

FLOOR = 1e-5  # added to the sum of the margins, without which its logarithm has no lower bound
SMALLEST = 1e-24  # added to the squared reach, so that its root has a finite slope


def soft_margin(logits: Mapping[str, Tensor], target: Tensor, having: Mapping[str, Tensor] = ALL) -> Tensor:
    """log(1e-5 + sum_m sum_{c != y} exp(z_m[c] - z_m[y])) of every sample, (B,): small where all margins are large.

    logits: modality -> (B, C). target: (B,) classes. having: modality -> (B,) bool, the samples that have it; the sum
    is over these.

    >>> soft_margin({"audio": torch.tensor([[2.0, 0.0]])}, torch.tensor([0]))
    tensor([-1.9999])
    """
    every, kept = torch.stack(list(logits.values())), stacked(list(logits), having)
    right = target.expand(len(every), -1)[..., None]
    behind = (every - every.gather(2, right)).scatter(2, right, -torch.inf)
    if kept is not None:
        behind = behind.masked_fill(~kept[..., None], -torch.inf)
    floor = behind.new_full((len(target), 1), math.log(FLOOR))
    return torch.cat([*behind, floor], 1).logsumexp(1)


def certified_radius(
    logits: Tensor,
    scales: Tensor,
    bias: Tensor,
    slopes: Tensor,
    target: Tensor,
    kept: Tensor | None = None,
    released: bool = False,
) -> Tensor:
    """The radius (B,) within which no change of the inputs makes the runner-up k overtake the true class y.

    (sum_m (a_m[y] z_m[y] - a_m[k] z_m[k]) + b[y] - b[k]) / sqrt(sum_m (|a_m[y]| t_m[y] + |a_m[k]| t_m[k])^2), where k
    is the wrong class of the largest fused logit. It is negative where k is ahead, and 0, with no gradient, where all
    slopes are 0, so that nothing bounds it.

    logits: z (M, B, C). scales: a (M, C). bias: b (C,). slopes: t (M, C), the largest slope of each logit. target: (B,)
    classes. kept: (M, B) bool, which samples have each of the modalities; None where all have all. released: with a in
    place of |a|, as the official code of CRMT; where scales differ in sign, nothing is certified then.

    >>> one = torch.ones(1, 2)
    >>> certified_radius(torch.tensor([[[3.0, 1.0]]]), one, torch.zeros(2), one, torch.tensor([0]))
    tensor([1.])
    """
    shares = scales[:, None] * logits
    fused = (shares.sum(0) + bias).scatter(1, target[:, None], -torch.inf)
    pair = torch.stack([target, fused.argmax(1)])  # (2, B): the true class and the runner-up
    right, other = shares.gather(2, pair.T.expand(len(shares), -1, -1)).unbind(2)
    sizes = scales if released else scales.abs()
    gap, reach = right - other, (sizes * slopes)[:, pair].sum(1)
    if kept is not None:
        gap, reach = (torch.where(kept, x, 0.0) for x in (gap, reach))
    margin, squared = gap.sum(0) + bias[pair[0]] - bias[pair[1]], reach.square().sum(0)
    return torch.where(squared > 0, margin / (squared + SMALLEST).sqrt(), 0.0)


def largest_slopes(fit: Fit, head: UnitRowsSum, released: bool = False) -> Tensor:
    """The largest norm of the gradient of each logit z_m[c] with respect to the modality's input, (M, C).

    It is over the training samples that have the modality, without augmentation, in evaluation mode. released: as the
    official code of CRMT, which takes the sum of a_m[c] z_m[c] over the classes so far, and 0 for the last modality.
    """
    slopes = []
    with evaluation_mode(fit.model), reading(fit.train, torch.arange(len(fit.train)), fit.settings.batch_size) as parts:
        for index in parts:
            slopes.append(_slopes(fit, head, fit.train.batch(index), released))
    return torch.stack(slopes).amax(0)


def _slopes(fit: Fit, head: UnitRowsSum, batch: Batch, released: bool) -> Tensor:
    """The largest slopes (M, C) in a batch."""
    names, scales = fit.model.modalities, head.scales()
    values = {m: batch.inputs.values[m].detach().clone().requires_grad_() for m in names}
    with torch.enable_grad(), fit.autocast():
        features = {m: fit.model.encode_one(m, x, batch.inputs.lengths.get(m)) for m, x in values.items()}
        logits = head.alone(features)
    if released:
        logits = {m: scales[m].detach() * z for m, z in logits.items()}
    every = torch.stack([_norms(values[m], logits[m], released) for m in names])
    if released:
        every[-1] = 0
    kept = stacked(names, batch.having)
    return (every if kept is None else torch.where(kept[..., None], every, 0.0)).amax(1)


def _norms(values: Tensor, logits: Tensor, summed: bool) -> Tensor:
    """The norms (B, C) of the gradients of logits (B, C), or of the sums of those up to each, by values (B, ...)."""
    rows, total = [], torch.zeros_like(values)
    for column in logits.unbind(1):
        (gradient,) = torch.autograd.grad(column.sum(), values, retain_graph=True, materialize_grads=True)
        total = total + gradient if summed else gradient
        rows.append(total.flatten(1).norm(dim=1))
    return torch.stack(rows, 1)
