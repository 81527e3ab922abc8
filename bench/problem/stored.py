"""Samples on disk whose batches are made in two steps, so that the first one can be done ahead by another thread."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from mcr_bench.bench.core.device import Beside
from mcr_bench.bench.problem.samples import Rows

BLOCK = 64 * 2**20  # bytes that are read at a time when all rows are brought to a device


class StoredRows(Rows):
    """N samples that stay on disk: their rows are read on the CPU, then made ready on the device as a whole batch.

    The first step needs no random numbers and may be done by another thread. A subclass that overrides `__getitem__` or
    `augmented` works too; its batches are then made in whatever way it makes them.

    row: the shape of a stored row.
    dtype: its dtype.
    device: the device on which batches are made.
    held: (N, ...) all stored rows in the memory of the device; None where they are read from disk.
    ahead: makes the batch with this index (B,) from rows that were read ahead, with a seed as `made` takes it; gives
        None for other batches. None where nothing is read ahead.
    """

    row: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device = torch.device("cpu")
    held: Tensor | None = None
    ahead: "Callable[[StoredRows, Tensor, int | None], Tensor | None] | None" = None

    @abstractmethod
    def read(self, index: Tensor, into: Tensor) -> None:
        """Read the stored rows at `index`, (B,) int64 on the CPU, `into` (B, ...), which is on the CPU as well.

        It may be called by another thread and must not draw from default random generators.
        """

    @abstractmethod
    def made(self, raw: Tensor, index: Tensor, seed: int | None) -> Tensor:
        """Stored rows (B, ...) on the device -> the samples (B, ...) float32 of a batch.

        index: (B,) int64 on the CPU.
        seed: of the augmentation, as in `augmented`; None for samples as evaluation sees them.
        """

    def __getitem__(self, index: Tensor) -> Tensor:
        return self._batch(index, None)

    def augmented(self, index: Tensor, seed: int) -> Tensor:
        return self._batch(index, seed)

    def _batch(self, index: Tensor, seed: int | None) -> Tensor:
        batch = None if self.ahead is None else self.ahead(self, index, seed)
        return self._batch_now(index, seed) if batch is None else batch

    def _batch_now(self, index: Tensor, seed: int | None) -> Tensor:
        at = index.cpu()
        if self.held is not None:
            return self.made(self.held[index.to(self.device)], at, seed)
        return self.made(self._read(at).to(self.device), at, seed)

    def _read(self, at: Tensor) -> Tensor:
        raw = torch.empty((len(at), *self.row), dtype=self.dtype)
        self.read(at, raw)
        return raw

    @cached_property
    def beside(self) -> Beside:
        """Where batches are made beside the training."""
        return Beside(self.device)

    @property
    def stored_bytes(self) -> int:
        """The size of all stored rows."""
        return self.shape[0] * math.prod(self.row) * self.dtype.itemsize

    def brought(self) -> Self:
        """The same samples with all stored rows in the memory of the device; they are read block by block."""
        size = max(1, BLOCK // max(1, math.prod(self.row) * self.dtype.itemsize))
        held = torch.empty((self.shape[0], *self.row), dtype=self.dtype, device=self.device)
        for at, block in zip(torch.arange(self.shape[0]).split(size), held.split(size), strict=True):
            block.copy_(self._read(at))
        rows = copy.copy(self)
        rows.held = held
        return rows
