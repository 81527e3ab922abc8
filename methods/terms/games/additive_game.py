"""The game of MCR for an additive fusion head: all coalitions and copies at once, with the gradients in closed form."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.methods.terms.distances import Distance, Slopes

LARGEST = 2**22  # elements of a temporary tensor (16 MB): of more coalitions than fit, one group follows the other
Members = tuple[int, ...]


class Rules(NamedTuple):
    """How players are rewarded.

    coalitions: the members of each coalition S, as places among the M players.
    others: k, by which the gradient of D_S is multiplied for a player that is not in S.
    reference: the same for the gradient through the reference logits, where members have 1; None: there is none.
    bias_learns: whether the bias of the head gets a gradient.
    distance: the distance of outputs from the reference logits.
    """

    coalitions: Sequence[Members]
    others: float
    reference: float | None
    bias_learns: bool
    distance: Distance


class Gains(NamedTuple):
    """The gradients of sum_S D_S as the players get them, each to be multiplied by `share`.

    still: in the contributions of players outside a coalition, (C, M, B).
    perturbed: in the perturbed contributions, (C, M, P, B).
    reference: in the contributions to the reference logits, (C, M, B).
    bias: in the bias, (C,).
    """

    still: Tensor
    perturbed: Tensor
    reference: Tensor
    bias: Tensor
    share: float


def game(
    rules: Rules,
    bias: Tensor | None,
    intact: Tensor,
    present: Tensor | None,
    perturbed: Tensor | None,
    orders: Tensor | None,
    having: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """sum_S D_S, a tensor () with every player's own gradient, and the D_S, (S,), without a gradient.

    bias: (C,) of the head.
    intact: contributions (M, B, C) to the reference logits.
    present: contributions (M, B, C) where only others are perturbed; None: the intact ones.
    perturbed: contributions (M, P, B, C) of a coalition's members; None: the present ones in other orders of the batch.
    orders: these orders, (M, P, B), each a permutation of range(B).
    having: (M, B) bool, which players each sample has; None: all. D_S is the mean over the samples that have all of S,
        0 if there are none, and a player gets no gradient from samples that lack it.

    The computation is in full precision, and its temporary tensors are those of a few coalitions.

    >>> from mcr_bench.methods.terms.distances import squared_slopes
    >>> rules = Rules([(0,), (1,)], others=-1.0, reference=None, bias_learns=False, distance=squared_slopes)
    >>> intact, zeros = torch.tensor([[[1.0]], [[2.0]]]), torch.zeros(2, 1, 1, 1)
    >>> game(rules, None, intact, None, zeros, None)[1]  # 3 without 1, and 3 without 2
    tensor([1., 4.])
    """
    total, values = _Game.apply(rules, bias, intact, present, perturbed, orders, having)  # type: ignore[no-untyped-call]
    return total, values


def play(
    rules: Rules,
    bias: Tensor | None,
    intact: Tensor,
    still: Tensor,
    perturbed: Tensor,
    having: Tensor | None = None,
) -> tuple[Tensor, Gains]:
    """The distances D_S, (S,), and the gains.

    intact: contributions (C, M, B) to the reference logits. still: those beside perturbed ones, (C, M, B).
    perturbed: (C, M, P, B). bias: (C,). having: (M, B) bool, see `game`.
    """
    shift = [] if bias is None else [bias[:, None]]
    reference = reduce(add, [*intact.unbind(1), *shift])
    still_gains, copy_gains, reference_gains = map(torch.zeros_like, (still, perturbed, intact))
    gains = Gains(still_gains, copy_gains, reference_gains, torch.zeros_like(intact[:, 0, 0]), 1.0)
    values = []
    for group in _groups(rules.coalitions, perturbed[:, 0].numel()):
        outputs = torch.stack([_outputs(members, still, perturbed, shift) for members in group], 1)
        slopes = _measured(rules.distance, outputs, reference, _counted(group, having))
        values.append(slopes.values)
        _credit(rules, group, gains, slopes)
    if having is not None:
        still_gains.mul_(having)
        reference_gains.mul_(having)
    return torch.cat(values), gains._replace(share=slopes.share)


def _counted(group: Sequence[Members], having: Tensor | None) -> Tensor | None:
    """(S, B) bool, which samples have all members of each coalition; None for all."""
    if having is None:
        return None
    return torch.stack([reduce(torch.logical_and, [having[m] for m in members]) for members in group])


def _measured(distance: Distance, outputs: Tensor, reference: Tensor, counted: Tensor | None) -> Slopes:
    """The distances of outputs (C, S, P, B) from the reference (C, B), as means over the samples that count, (S, B)."""
    if counted is None:
        return distance(outputs, reference)
    slopes = distance(torch.where(counted[:, None], outputs, reference[:, None, None]), reference)
    more = counted.any(1) * counted.shape[1] / counted.sum(1).clamp(min=1).to(slopes.values.dtype)
    rows = counted * more[:, None]
    return slopes._replace(
        values=slopes.values * more, outputs=slopes.outputs * rows[:, None], reference=slopes.reference * rows
    )


def _groups(coalitions: Sequence[Members], elements: int) -> Iterable[Sequence[Members]]:
    size = max(1, LARGEST // elements)
    return (coalitions[start : start + size] for start in range(0, len(coalitions), size))


def _outputs(members: Members, still: Tensor, perturbed: Tensor, shift: list[Tensor]) -> Tensor:
    """The outputs (C, P, B) with the members' contributions perturbed."""
    beside = [x for m, x in enumerate(still.unbind(1)) if m not in members]
    return reduce(add, [perturbed[:, m] for m in members]) + reduce(add, beside + shift)[:, None]


def _credit(rules: Rules, group: Sequence[Members], gains: Gains, slopes: Slopes) -> None:
    """Add the slopes of a group of coalitions to the players' gains."""
    over_copies = slopes.outputs.sum(2)
    for place, members in enumerate(group):
        for m in range(gains.still.shape[1]):
            if m in members:
                gains.perturbed[:, m].add_(slopes.outputs[:, place])
            elif rules.others:
                gains.still[:, m].add_(over_copies[:, place], alpha=rules.others)
            if rules.reference is not None:
                factor = 1.0 if m in members else rules.reference
                gains.reference[:, m].add_(slopes.reference[:, place], alpha=factor)
    if rules.bias_learns:
        through_all = over_copies if rules.reference is None else over_copies + slopes.reference
        gains.bias.add_(through_all.sum((1, 2)))


def _columns(contributions: Tensor) -> Tensor:
    """Contributions (M, ..., C) as (C, M, ...), in full precision."""
    return promoted(contributions).movedim(-1, 0).contiguous()


def _copies(still: Tensor, perturbed: Tensor | None, orders: Tensor | None) -> Tensor:
    """The perturbed contributions (C, M, P, B): those that are given, or the still ones (C, M, B) in other orders."""
    if perturbed is not None:
        return _columns(perturbed)
    assert orders is not None, "either perturbed contributions or orders are given"
    return _reordered(still, orders)


def _reordered(columns: Tensor, orders: Tensor) -> Tensor:
    """Columns (C, M, B) in the orders (M, P, B): (C, M, P, B)."""
    first = torch.arange(0, columns[0].numel(), orders.shape[-1], device=orders.device)
    index = (orders + first[:, None, None]).flatten()
    return columns.flatten(1).index_select(1, index).reshape(-1, *orders.shape)


def _back(gains: Tensor, orders: Tensor) -> Tensor:
    """The sum over copies of gains (C, M, P, B), each brought back into the order of the batch, without atomic adds."""
    rows = torch.arange(orders.numel(), device=orders.device).view_as(orders)
    inverse = torch.empty_like(orders).scatter_(-1, orders, rows).flatten()
    return gains.flatten(1).index_select(1, inverse).reshape(gains.shape).sum(2)


def _of_intact(rules: Rules, gains: Gains, of_still: Tensor | None) -> Tensor | None:
    """The gains in the contributions to the reference, and beside perturbed ones where these are the same."""
    if rules.reference is None:
        return of_still
    return gains.reference if of_still is None else gains.reference + of_still


class _Game(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rules: Rules,
        bias: Tensor | None,
        intact: Tensor,
        present: Tensor | None,
        perturbed: Tensor | None,
        orders: Tensor | None,
        having: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        whole = _columns(intact)
        still = whole if present is None else _columns(present)
        copies = _copies(still, perturbed, orders)
        values, gains = play(rules, bias, whole, still, copies, having)
        of_still = gains.still if orders is None else gains.still + _back(gains.perturbed, orders)
        ctx.save_for_backward(
            gains.bias if rules.bias_learns else None,
            _of_intact(rules, gains, of_still if present is None else None),
            None if present is None else of_still,
            gains.perturbed if orders is None else None,
        )
        ctx.share = gains.share
        ctx.mark_non_differentiable(values)
        return values.sum(), values

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _values: Tensor) -> tuple[Tensor | None, ...]:
        share = grad * ctx.share
        of_bias, *gains = (None if g is None else g * share for g in ctx.saved_tensors)
        return None, of_bias, *(None if g is None else g.movedim(0, -1) for g in gains), None, None
