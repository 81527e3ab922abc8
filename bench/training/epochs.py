"""The steps of one epoch: which samples each has, and which modalities it drops for which of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import or_

import torch
from torch import Tensor, nn

from mcr_bench.bench.core import seeds
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import checked_batches
from mcr_bench.bench.problem.epoch_batches import EpochBatches
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method


class EpochSteps:
    """The steps of the present epoch, in their order.

    order: (n,) int64 on the CPU, the samples of all steps.
    """

    def __init__(self, chosen: EpochBatches, fit: Fit, pathways: Mapping[str, float]) -> None:
        """chosen: the samples of the epoch. pathways: modality -> the probability that a step drops it."""
        self.order = chosen.order
        self._fit, self._pathways = fit, pathways
        size = fit.settings.batch_size
        self._count = len(self.order.split(size))
        self._any = {m: [bool(x.any()) for x in flags.split(size)] for m, flags in chosen.dropped.items()}
        self._flags = {m: flags.to(fit.device).split(size) for m, flags in chosen.dropped.items()}

    def __len__(self) -> int:
        return self._count

    def dropping(self, batch: Batch, position: int) -> Batch:
        """The batch of the step at `position`, from 0, with what is dropped in it; the same batch where nothing is."""
        flags = {m: self._flags[m][position] for m, some in self._any.items() if some[position]}
        batch = replace(batch, dropped=flags) if flags else batch
        drawn = pathways_dropped(self._fit.seed, self._fit.epoch, position, self._pathways)
        if not drawn or len(drawn) == len(self._fit.model.modalities):
            return batch
        return replace(batch, dropped={**flags, **_whole(batch, drawn, self._fit.model.modalities)})


def epoch_steps(method: Method, fit: Fit, pathways: Mapping[str, float]) -> EpochSteps:
    """The steps of the present epoch as the method chooses them; UserError where its choice is not allowed."""
    returned = method.epoch_batches(fit.epoch)
    chosen = checked_batches(method, returned, len(fit.train), fit.model.modalities)
    return EpochSteps(_of_two(chosen, fit) if chosen else EpochBatches(fit.order()), fit, pathways)


def _of_two(chosen: EpochBatches, fit: Fit) -> EpochBatches:
    """The batches that a method chose, without a last one of one sample where the model refuses that.

    So does batch normalisation of features. How many samples a method chooses may change with every epoch, so that no
    batch size avoids it; where all samples in their order end so too, the size does, and the error says so.
    """
    size, count = fit.settings.batch_size, len(chosen.order)
    alone = count > size and count % size == 1 != len(fit.train) % size
    if not alone or not any(isinstance(part, nn.BatchNorm1d) for part in fit.model.modules()):
        return chosen
    return EpochBatches(chosen.order[:-1], {m: flags[:-1] for m, flags in chosen.dropped.items()})


def pathways_dropped(seed: int, epoch: int, position: int, rates: Mapping[str, float]) -> list[str]:
    """The modalities that the step at `position` of an epoch drops as a whole, each with its own probability.

    The draws are those of every method: they depend on the seed, the place of the step and the modality's name alone.
    """
    return [m for m, rate in rates.items() if _drawn(seed, epoch, position, m) < rate]


def _drawn(seed: int, epoch: int, position: int, modality: str) -> float:
    source = seeds.generator(seed, "batches", "drop_pathway", epoch, position, modality)
    return float(torch.rand((), generator=source))


def _whole(batch: Batch, drawn: list[str], modalities: list[str]) -> dict[str, Tensor]:
    """The flags (B,) of modalities that are dropped as a whole; a sample that would have nothing left keeps them."""
    everywhere = torch.ones_like(batch.index, dtype=torch.bool)
    flags = reduce(or_, [batch.having.get(m, everywhere) for m in modalities if m not in drawn])
    return {m: _either(flags, batch.dropped.get(m)) for m in drawn}


def _either(flags: Tensor, own: Tensor | None) -> Tensor:
    return flags if own is None else flags | own


def check_heeded(method: Method, fit: Fit, batch: Batch) -> None:
    """UserError where a step had modalities to drop and did not hand them to the model: they would not be dropped."""
    missed = [m for m in batch.dropped if m not in fit.model.heeded]
    if missed:
        raise UserError(
            f"{method.name}: a step was to drop '{missed[0]}' for some samples and did not. Hand batch.dropped to "
            "the model: self.fit.model(batch.inputs, dropped=batch.dropped), or self.fit.model.drop(features, "
            "batch.dropped) before features are fused."
        )
    fit.model.heeded.clear()
