"""Samples of a cache on disk: gathered by index from a memory map, and made ready as whole batches by a view."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.device import sent
from mcr_bench.bench.units import divisors
from mcr_bench.datasets.base import StoredRows
from mcr_bench.datasets.cache.opened import Cache

BLOCK = 2**20  # values that are processed at a time when a whole part is read: 8 MiB as float64
LENGTH = "length"


class View(ABC):
    """How batches of one field are made from raw rows (B, ...), on the device of the rows.

    field: the field of the cache.
    padded: whether the rows are padded sequences (B, T, C).
    ids: whether batches are ids of words, int64, which have no mean.
    scalars: the names of fields with one number per clip that the view needs. Its methods receive them as `facts`:
        name -> (B,) on the CPU. A padded view also receives the number of real steps of each row, with the name
        'length'.
    """

    field: str
    padded: bool = False
    ids: bool = False
    scalars: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
        """The batch (B, ...) float32 as evaluation sees it, which is not random."""

    def augment(self, raw: Tensor, facts: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """The batch (B, ...) float32 as training sees it; draws from `generator` (CPU). By default as in evaluation."""
        return self.evaluate(raw, facts)

    def shape(self, raw: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a sample, from the shape of a raw row."""
        return raw

    def to(self, device: torch.device) -> "View":
        """The same view with the tensors that it holds on `device`. A view without tensors is itself."""
        return self


@dataclass(frozen=True)
class Plain(View):
    """The rows unchanged, as float32.

    field: the field of the cache.
    padded: whether the rows are padded sequences.

    >>> Plain("audio").evaluate(torch.tensor([[1, 2]]), {})
    tensor([[1., 2.]])
    """

    field: str
    padded: bool = False

    def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
        return raw.float()


@dataclass(frozen=True, eq=False)
class Standardised(View):
    """(x - mean) / std. Padded steps become 0.

    field: the field of the cache.
    mean: float32, in a shape that broadcasts against a sample.
    std: float32, in a shape that broadcasts against a sample.
    padded: whether the rows are padded sequences.
    """

    field: str
    mean: Tensor
    std: Tensor
    padded: bool = False

    def evaluate(self, raw: Tensor, facts: dict[str, Tensor]) -> Tensor:
        x = (raw.float() - self.mean.to(raw.device)).div_(self.std.to(raw.device))
        return x.mul_(real_steps(x, facts)) if self.padded else x

    def to(self, device: torch.device) -> "Standardised":
        if self.mean.device == device:
            return self
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))


def real_steps(x: Tensor, facts: dict[str, Tensor]) -> Tensor:
    """(B, T, 1, ...) bool for x (B, T, ...): which steps are real. facts: 'length' -> (B,) int64.

    >>> real_steps(torch.zeros(2, 3, 4), {"length": torch.tensor([1, 3])})[..., 0].tolist()
    [[True, False, False], [True, True, True]]
    """
    steps = torch.arange(x.shape[1], device=x.device) < sent(facts[LENGTH], x.device)[:, None]
    return steps.reshape(*steps.shape, *[1] * (x.ndim - 2))


def standardised_view(
    cache: Cache, field: str, train_rows: Array, padded: bool = False, whole: bool = False
) -> Standardised:
    """A view with zero mean and unit variance per channel over the training clips; constant channels become 0.

    The channel axis is the last axis of vectors (D,) and sequences (T, C), and C of (C, H, W) and (T, C, H, W). Padded
    steps do not count.
    train_rows: (n,) int64, the indices of the training clips.
    whole: whether to use one mean and deviation for all values, as for waveforms (T,).
    """
    rows = CachedRows(cache, Plain(field, padded), train_rows)
    ndim = len(rows.shape) - 1
    channel = ndim - 1 if ndim < 3 else ndim - 3
    axes = tuple(i for i in range(ndim + 1) if whole or i != channel + 1)
    mean = _weighted_mean(rows, axes, None)
    std = _weighted_mean(rows, axes, mean).sqrt()
    std = divisors(mean, std)
    return Standardised(field, mean[0].float(), std[0].float(), padded)


def _weighted_mean(rows: "CachedRows", axes: tuple[int, ...], centre: Tensor | None) -> Tensor:
    """The float64 mean over `axes`, which are kept with length 1; with `centre`, the mean squared distance from it.

    axes: they include the batch axis 0. The variance needs two passes, because the difference of two large sums has no
    digits left if the mean is far from 0.
    """
    total = torch.zeros(())
    count = torch.zeros(())
    for x, real in rows.blocks():
        y = x.double() if centre is None else x.double().sub_(centre).square_()
        if real is not None:
            y.mul_(real)
        total = total.to(y) + y.sum(axes, keepdim=True)
        steps = torch.ones(len(y), *[1] * (y.ndim - 1), device=y.device) if real is None else real
        repeats = math.prod(y.shape[axis] for axis in axes if steps.shape[axis] == 1 != y.shape[axis])
        count = count.to(y) + steps.sum(axes, keepdim=True) * repeats
    return total / count.clamp(min=1)


class CachedRows(StoredRows):
    """One modality of n clips of a cache, in the order of a split."""

    def __init__(self, cache: Cache, view: View, at: Array, device: torch.device | str = "cpu") -> None:
        """at: (n,) int64, the indices of the clips among those of the cache."""
        self._array = np.asarray(cache.array(view.field))  # still mapped, but indexing is faster than in a memmap
        self.row = self._array.shape[1:]
        self.dtype = torch.from_numpy(np.empty(0, self._array.dtype)).dtype
        self.device = torch.device(device)
        self._cache, self._view, self._at = cache, view.to(self.device), at
        self._slots = np.asarray(cache.rows)[at]
        self._facts = {name: torch.from_numpy(np.asarray(cache.scalars(name))[at]) for name in view.scalars}
        if view.padded:
            self._facts[LENGTH] = torch.from_numpy(np.asarray(cache.lengths(view.field))[at])
        self.shape = (len(at), *view.shape(self._array.shape[1:]))

    def read(self, index: Tensor, into: Tensor) -> None:
        """The rows at `index` (B,), read in the order of the disk `into` (B, ...)."""
        slots, rows = self._slots[index.numpy()], into.numpy()
        for place in np.argsort(slots, kind="stable"):
            rows[place] = self._array[slots[place]]

    def made(self, raw: Tensor, index: Tensor, seed: int | None) -> Tensor:
        facts = self._facts_of(index)
        if seed is None:
            return self._view.evaluate(raw, facts)
        return self._view.augment(raw, facts, torch.Generator().manual_seed(seed))

    def mean(self) -> Tensor:
        if self._view.ids:  # no word takes the place of an absent text
            return torch.zeros(self.shape[1:], dtype=torch.int64, device=self.device)
        return _weighted_mean(self, (0,), None)[0].float()

    def to(self, device: torch.device) -> "CachedRows":
        return CachedRows(self._cache, self._view, self._at, device)

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Every sample as evaluation sees it, block by block: x (B, ...) float32, and which of its steps are real.

        The latter is (B, T, 1, ...) bool; None if the view is not padded.
        """
        size = max(1, BLOCK // max(1, math.prod(self.shape[1:])))
        for index in torch.arange(len(self._at)).split(size):
            x = self[index]
            yield x, real_steps(x, self._facts_of(index)) if self._view.padded else None

    def _facts_of(self, index: Tensor) -> dict[str, Tensor]:
        return {name: values[index] for name, values in self._facts.items()}
