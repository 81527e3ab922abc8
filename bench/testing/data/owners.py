"""Whose sample was changed in the files of a dataset, found by the effect on what is loaded.

Scaling, by whatever numbers it is computed, moves every sample along one line per place: x -> a x + b. The sample that
was changed itself leaves that line. So where the lines through all other samples fit much better than those through
all, the sample that makes the difference is the one that was changed.
"""

import torch
from torch import Tensor

from mcr_bench.bench.problem.samples import Split, Splits
from mcr_bench.bench.testing.data.case import PARTS, parts_of, values_of

PLACES = 64  # numbers of a sample that are looked at, those that changed most
LEFT = 1e-2  # share of the squares that may be left without the sample, for it to be the one that was changed
NOISE = 1e-8  # squares of rounding, relative to those of the numbers
FEWEST = 4  # samples that a line is drawn through


def changed_of(before: Splits, after: Splits) -> dict[str, Tensor]:
    """Part -> (n,) bool, which samples have other values in some modality; of those on disk the first few."""
    return {name: _changed(part, parts_of(after)[name]) for name, part in parts_of(before).items()}


def _changed(before: Split, after: Split) -> Tensor:
    if before.ids != after.ids:
        return torch.ones(len(before), dtype=torch.bool)
    pairs = [(values_of(before, m), values_of(after, m)) for m in before.values]
    looked = min(len(first) for first, _ in pairs)
    return torch.stack([(x != y).reshape(len(x), -1).any(1)[:looked] for x, y in pairs]).any(0)


def owner_of(before: Splits, after: Splits) -> str:
    """The part of the sample that was changed between two loads; '' where the effect does not tell."""
    touched = [name for name, changed in changed_of(before, after).items() if changed.any()]
    if len(touched) == 1:
        return touched[0]
    if any(part.ids != parts_of(after)[name].ids for name, part in parts_of(before).items()):
        return ""
    return next((part for m in before.train.values if (part := _owner(before, after, m))), "")


def _owner(before: Splits, after: Splits, m: str) -> str:
    """The part of the one sample without which lines fit the values of a modality; '' if there is none."""
    x, y, real = _flat(before, m), _flat(after, m), _real(before, m)
    places = (y - x).abs().amax(0).topk(min(PLACES, x.shape[1])).indices
    squares, without = _squares(x[:, places], y[:, places], real[:, places].double())
    place = int(without.argmin())
    if squares <= NOISE * y[:, places].square().sum() or without[place] > LEFT * squares:
        return ""
    counts = [len(values_of(part, m)) for part in parts_of(before).values()]
    return [name for name, count in zip(PARTS, counts, strict=True) for _ in range(count)][place]


def _flat(splits: Splits, m: str) -> Tensor:
    """The samples (N, K) of all parts, float64."""
    return torch.cat([values_of(part, m).double().flatten(1) for part in parts_of(splits).values()])


def _real(splits: Splits, m: str) -> Tensor:
    """(N, K) bool: which numbers are of real steps, and of samples that have the modality."""
    real = []
    for part in parts_of(splits).values():
        x = values_of(part, m)
        own = part.presence(m)[: len(x)].reshape(-1, *[1] * (x.ndim - 1)).expand(x.shape)
        if m in part.lengths:
            own = own & part.mask(m)[: len(x)].reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        real.append(own.flatten(1))
    return torch.cat(real)


def _squares(x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The squares () that the line of each place leaves, and those (N,) that are left without each of the samples.

    x, y: (N, K). weight: (N, K), 1 for numbers that count, else 0. Leaving out sample i takes e_i^2 / (1 - h_i) from
    the squares, with its residual e_i and its leverage h_i.
    """
    weight = weight * (weight.sum(0) >= FEWEST)
    count = weight.sum(0).clamp(min=1)
    x, y = ((v - (weight * v).sum(0) / count) * weight for v in (x, y))
    spread = x.square().sum(0).clamp(min=1e-12)
    left = (y - (x * y).sum(0) / spread * x) * weight
    leverage = (1 / count + x.square() / spread).clamp(max=1 - 1e-6)
    taken = left.square() / (1 - leverage)
    return left.square().sum(), left.square().sum() - taken.sum(1)
