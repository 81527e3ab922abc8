"""Epochs in which some samples are trained on with one modality alone: the features of all others are dropped."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.problem.epoch_batches import EpochBatches


def with_copies(fit: Fit, copies: Mapping[str, Tensor]) -> EpochBatches:
    """All samples with all their modalities, and copies with one modality alone, mixed at random.

    copies: modality -> (n,) int64, the samples that are trained on again with this modality alone, with repetitions.
    Without any it is the order that all methods train in.
    """
    order = fit.order()
    if not any(len(samples) for samples in copies.values()):
        return EpochBatches(order)
    places = [torch.rand(len(order), generator=fit.generator("place"), dtype=torch.float64)]
    places += [
        torch.rand(len(samples), generator=fit.generator("place", m), dtype=torch.float64)
        for m, samples in copies.items()
    ]
    kept = [""] * len(places[0]) + [m for m, samples in copies.items() for _ in range(len(samples))]
    mixed = torch.cat(places).argsort()
    return EpochBatches(torch.cat([order, *copies.values()])[mixed], _all_but(kept, list(copies), mixed))


def in_blocks(blocks: Mapping[str, Tensor], size: int) -> EpochBatches:
    """One block of samples after the other, each with one modality alone, in batches of `size` that have one modality.

    blocks: modality -> (n,) int64, its samples, in the order of training. So that no batch has two modalities, every
    block but the last one is filled up to a multiple of `size` with its own samples, from the first one on.

    >>> batches = in_blocks({"audio": torch.tensor([7, 3, 5]), "video": torch.tensor([4])}, size=2)
    >>> batches.order, batches.dropped["audio"]
    (tensor([7, 3, 5, 7, 4]), tensor([False, False, False, False,  True]))
    """
    filled = {m: samples for m, samples in blocks.items() if len(samples)}
    last = list(filled)[-1]
    for m, samples in filled.items():
        if m != last:
            filled[m] = samples[torch.arange(-(-len(samples) // size) * size) % len(samples)]
    order = torch.cat(list(filled.values()))
    kept = [m for m, samples in filled.items() for _ in range(len(samples))]
    return EpochBatches(order, _all_but(kept, list(blocks), torch.arange(len(order))))


def _all_but(kept: list[str], modalities: list[str], order: Tensor) -> dict[str, Tensor]:
    """Modality -> (n,) bool, where it is dropped: where another one is kept; '' keeps all. order: (n,) places."""
    codes = torch.tensor([modalities.index(m) if m else -1 for m in kept])[order]
    return {m: (codes >= 0) & (codes != i) for i, m in enumerate(modalities)}
