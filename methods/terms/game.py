"""The game of MCR: what a coalition of modalities contributes, every player's own objective in one backward pass.

Source: "Balancing Multimodal Training Through Game-Theoretic Regularization", arXiv 2411.07335, equations 8, 12 and 13.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from mcr_bench.bench.models.fusion import Fusion, sum_of
from mcr_bench.methods.terms.scaled import scale_gradient

Head = Callable[[dict[str, Tensor]], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]
Coalition = tuple[str, ...]
EXACT = 4  # players up to which a step takes every coalition: 14 of them, where five have 30 (our choice)
PAIRS = 8  # complementary pairs drawn per step from more players (our choice)
Detach = bool | Literal["released"]


def jensen_shannon(logits: Tensor, reference: Tensor) -> Tensor:
    """Mean over rows of JS(softmax(logits), softmax(reference)) in nats, 0 to ln 2; (..., C) and (..., C), broadcast.

    Log-probabilities only, so saturated logits give finite values and gradients.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    p, q = logits.to(dtype).log_softmax(-1), reference.to(dtype).log_softmax(-1)
    mixture = torch.logaddexp(p, q) - math.log(2)
    return 0.5 * (p.exp() * (p - mixture) + q.exp() * (q - mixture)).sum(-1).mean()


def squared_difference(outputs: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference of a regression's outputs, the stand-in for `jensen_shannon`."""
    return (outputs - reference).square().mean()


def coalitions(players: list[str]) -> list[Coalition]:
    """Every non-empty proper subset, smallest first."""
    return [s for size in range(1, len(players)) for s in combinations(players, size)]


def drawn_coalitions(players: list[str], generator: torch.Generator) -> list[Coalition]:
    """The coalitions of one step: every one of up to four players; 16 of more, each with its complement.

    Pairs are drawn without repetition, for the same players the same in whatever order they come.
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
    """What the sum over so many coalitions is multiplied by: 1 for two and three players, as published.

    From four on the 2^M - 2 coalitions together weigh as the two of M = 2: 1 / (2^(M - 1) - 1) times a sum over all of
    them, and for drawn ones times all / drawn, which keeps the expectation. Both give 2 / coalitions.
    """
    return 1.0 if players <= 3 else 2.0 / coalitions


def reaches_all(detach: Detach, others: float) -> bool:
    """Whether the reference logits and what belongs to no player get the game's gradient: in the released game alone.

    It subtracts a greedy player's terms from another's, so that nothing is left there for k = -1.
    """
    return detach == "released" and others >= 0


def head_of(fusion: Fusion, learns: bool = False) -> Head:
    """From what the players bring to fused logits (..., B, C), broadcast over modalities.

    An additive head takes branch logits (..., B, C); any other takes features (..., B, d). Its bias, or in a head that
    is not additive every parameter, is no player's and gets a gradient only if it `learns`.
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
) -> dict[Coalition, Tensor]:
    """D_S of every coalition S (or the chosen ones): the distance of the outputs with S perturbed from the intact ones.

    intact[m], present[m]: (B, n) and perturbed[m]: (P, B, n), each a function of player m's parameters only; `present`
    (default: `intact`) stands beside the perturbed players. Backward, a member of S gets its gradient of D_S and
    every other player gets it times `others` (k of the paper: -1, 0 or 1). Through the reference goes nothing (True),
    the same as elsewhere (False), or in full for every player where `reaches_all` ("released").
    """
    whole = head(dict(intact))
    still = whole if reaches_all(detach_reference, others) else whole.detach()
    found = {}
    for coalition in coalitions(list(intact)) if chosen is None else chosen:
        beside = _scaled(present or intact, coalition, others)
        absent = {m: perturbed[m] for m in coalition}
        reference = still if detach_reference else head(_scaled(intact, coalition, others))
        found[coalition] = distance(head({**beside, **absent}), reference)
    return found


def _scaled(players: Mapping[str, Tensor], coalition: Coalition, others: float) -> dict[str, Tensor]:
    return {m: x if m in coalition else scale_gradient(x, others) for m, x in players.items()}
