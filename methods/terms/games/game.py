"""The game of MCR: how much each coalition of modalities contributes, in one backward pass for all players.

Source: "Balancing Multimodal Training Through Game-Theoretic Regularization", arXiv 2411.07335, equations 8, 12 and 13.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from mcr_bench.bench.models.fusion import Fusion, sum_of
from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.distances import divergence_slopes, mean_distance, slopes_of, squared_slopes
from mcr_bench.methods.terms.losses import ALL
from mcr_bench.methods.terms.scaled import scale_gradient

Head = Callable[[dict[str, Tensor]], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]
Coalition = tuple[str, ...]
EXACT = 4  # up to this many players a step takes every coalition: four have 14, five would have 30 (our choice)
PAIRS = 8  # with more players, this many pairs of complementary coalitions are drawn per step (our choice)
Detach = bool | Literal["released"]


def jensen_shannon(logits: Tensor, reference: Tensor) -> Tensor:
    """The mean () over rows of JS(softmax(logits), softmax(reference)) in nats, between 0 and ln 2.

    logits, reference: (..., C), broadcast to each other. The computation uses log-probabilities only, so that saturated
    logits give finite values and gradients.

    >>> jensen_shannon(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))  # disjoint: ln 2
    tensor(0.6931)
    """
    return mean_distance(divergence_slopes, logits, reference)


def squared_difference(outputs: Tensor, reference: Tensor) -> Tensor:
    """The mean squared difference () of outputs (..., K) of a regression, which replaces `jensen_shannon` there.

    >>> squared_difference(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [1.0]]))
    tensor(2.)
    """
    return mean_distance(squared_slopes, outputs, reference)


def distance_of(task: Task) -> Distance:
    """The mean distance () of outputs (..., C) from reference outputs (..., C) by which the game compares a task's."""
    return partial(mean_distance, slopes_of(task))


def coalitions(players: list[str]) -> list[Coalition]:
    """Every proper subset of the players that is not empty, the smallest first.

    >>> coalitions(["audio", "video"])
    [('audio',), ('video',)]
    """
    return [s for size in range(1, len(players)) for s in combinations(players, size)]


def drawn_coalitions(players: list[str], generator: torch.Generator) -> list[Coalition]:
    """The coalitions of one step: all of them for up to four players; for more, 8 drawn ones and their complements.

    No pair is drawn twice, and the order of the players does not change the draw.

    >>> len(drawn_coalitions(list("abcde"), torch.Generator().manual_seed(0)))
    16
    """
    every = coalitions(players)
    if len(players) <= EXACT:
        return every
    first = min(players)  # one of each complementary pair holds it
    pairs = sorted(tuple(sorted(s)) for s in every if first in s)
    order = torch.randperm(len(pairs), generator=generator, device=generator.device)[:PAIRS].tolist()
    chosen = {frozenset(pairs[i]) for i in order}
    return [s for s in every if frozenset(s) in chosen or frozenset(players) - set(s) in chosen]


def coalition_weight(players: int, coalitions: int) -> float:
    """The factor of the sum over this number of coalitions: 1 for two and three players, as published.

    With M >= 4 players, the 2^M - 2 coalitions together have the weight of the two of M = 2: the sum over all of them
    is multiplied by 1 / (2^(M - 1) - 1). A sum over drawn ones is also multiplied by all / drawn, which keeps the
    expectation. Both factors equal 2 / coalitions.

    >>> coalition_weight(3, 6), coalition_weight(4, 14) == 1 / (2**3 - 1)
    (1.0, True)
    """
    return 1.0 if players <= 3 else 2.0 / coalitions


def reaches_all(detach: Detach, others: float) -> bool:
    """Whether the reference logits and parameters of no player get a gradient of the game, as in the released code.

    others: k, with which a player weighs the coalitions without it. With k = -1 the released code subtracts the terms
    of one player from those of the other, so that nothing remains there.

    >>> reaches_all("released", 1.0), reaches_all("released", -1.0), reaches_all(True, 1.0)
    (True, False, False)
    """
    return detach == "released" and others >= 0


def head_of(fusion: Fusion, learns: bool = False) -> Head:
    """A function from what each player contributes to the fused logits (..., B, C), broadcast over modalities.

    The function of an additive head takes modality -> branch logits (..., B, C), that of another head takes modality ->
    features (..., B, d). The bias of an additive head, and every parameter of another head, belong to no player; they
    get a gradient only if `learns` is true.
    """
    if not fusion.additive:
        return _of_features(fusion, learns)
    if fusion.bias is None:
        return sum_of
    bias = fusion.bias if learns else fusion.bias.detach()
    return lambda branches: sum_of(branches) + bias


def _of_features(fusion: Fusion, learns: bool) -> Head:
    weights = {name: p if learns else p.detach() for name, p in fusion.named_parameters()}

    def head(features: dict[str, Tensor]) -> Tensor:
        shape = max((f.shape for f in features.values()), key=len)
        rows = {m: f.expand(shape).reshape(-1, shape[-1]) for m, f in features.items()}
        logits: Tensor = functional_call(fusion, weights, (rows,)).logits
        return logits.reshape(*shape[:-1], -1)

    return head


def divergences(
    intact: Mapping[str, Tensor],
    perturbed: Mapping[str, Tensor],
    head: Head,
    distance: Distance,
    others: float,
    detach_reference: Detach = True,
    present: Mapping[str, Tensor] | None = None,
    chosen: Sequence[Coalition] | None = None,
    having: Mapping[str, Tensor] = ALL,
) -> dict[Coalition, Tensor]:
    """Coalition S -> D_S, a tensor (): the distance of the outputs with S perturbed from the intact outputs.

    In the backward pass a member of S gets its gradient of D_S; every other player gets its gradient times `others`.

    intact: player -> (B, n), its unperturbed contribution.
    perturbed: player -> (P, B, n), its perturbed contributions.
    head: the function from contributions to outputs, see `head_of`.
    distance: the function of outputs and intact outputs that gives the distance.
    others: k of the paper: -1, 0 or 1.
    detach_reference: the gradient through the intact outputs: none (True), as elsewhere (False), or in full for every
    player where `reaches_all` ("released").
    present: player -> (B, n), its contribution where only others are perturbed; without it `intact`.
    chosen: the coalitions to take; without it all.
    having: player -> (B,) bool, the samples that have it; all have the others. D_S is the mean over the samples that
    have all of S, 0 if there are none, and a player gets no gradient from samples that lack it.

    Each contribution must depend on the parameters of its player only.
    """
    whole = head(_playing(intact, having))
    still = whole if reaches_all(detach_reference, others) else whole.detach()
    divergence = {}
    for coalition in coalitions(list(intact)) if chosen is None else chosen:
        beside = _playing(_scaled(present or intact, coalition, others), having)
        absent = {m: perturbed[m] for m in coalition}
        reference = still if detach_reference else head(_playing(_scaled(intact, coalition, others), having))
        counted = [having[m] for m in coalition if m in having]
        divergence[coalition] = _over(distance, head({**beside, **absent}), reference, counted)
    return divergence


def _over(distance: Distance, outputs: Tensor, reference: Tensor, counted: list[Tensor]) -> Tensor:
    """The mean distance () of outputs (P, B, C) from (B, C), over the samples at which all `counted` (B,) are set."""
    if not counted:
        return distance(outputs, reference)
    rows = reduce(torch.logical_and, counted)
    value = distance(torch.where(rows[:, None], outputs, reference), reference)
    return value * (rows.any() * len(rows) / rows.sum().clamp(min=1).to(value.dtype))


def _playing(players: Mapping[str, Tensor], having: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The contributions (B, n) of all players, without a gradient from samples that lack the player."""
    return {m: scale_gradient(x, having[m][:, None]) if m in having else x for m, x in players.items()}


def _scaled(players: Mapping[str, Tensor], coalition: Coalition, others: float) -> dict[str, Tensor]:
    """The contributions (B, n) of all players; the gradients of those outside the coalition are times `others`."""
    return {m: x if m in coalition else scale_gradient(x, others) for m, x in players.items()}
