"""The game of MCR: what a coalition of modalities contributes, every player's own objective in one backward pass.

Source: "Balancing Multimodal Training Through Game-Theoretic Regularization", arXiv 2411.07335, equations 8, 12 and 13.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

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


def head_of(fusion: Fusion) -> Head:
    """From what the players bring to fused logits (..., B, C), broadcast over modalities.

    An additive head takes branch logits (..., B, C); its bias is no player's and gets no gradient. Any other takes
    features (..., B, d), and none of its parameters gets a gradient: there a player owns its encoder only.
    """
    if not fusion.additive:
        return _frozen(fusion)
    bias = 0.0 if fusion.bias is None else fusion.bias.detach()
    return lambda branches: sum_of(branches) + bias


def _frozen(fusion: Fusion) -> Head:
    weights = {name: p.detach() for name, p in fusion.named_parameters()}

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
    detach_reference: bool = True,
    chosen: Sequence[Coalition] | None = None,
) -> dict[Coalition, Tensor]:
    """D_S of every coalition S (or the chosen ones): the distance of the outputs with S perturbed from the intact ones.

    intact[m]: (B, n) and perturbed[m]: (P, B, n), each a function of player m's parameters only. In the backward pass
    of D_S a member of S gets its gradient, every other player gets it times `others` (k of the paper: -1, 0 or 1).
    """
    still = head(dict(intact)).detach() if detach_reference else None
    found = {}
    for coalition in coalitions(list(intact)) if chosen is None else chosen:
        present = {m: x if m in coalition else scale_gradient(x, others) for m, x in intact.items()}
        absent = {m: perturbed[m] for m in coalition}
        reference = head(present) if still is None else still
        found[coalition] = distance(head({**present, **absent}), reference)
    return found
