"""Samples on disk whose batches are made in two steps, so that the first one can be done ahead by another thread."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.problem.samples import Rows

BLOCK = 64 * 2**20  # bytes that are read at a time when all rows are brought to a device


class Read(NamedTuple):
    """Rows of a batch that have been read.

    raw: (B, ...), as they are stored, on the device on which batches are made.
    index: (B,) int64 on the CPU, the index of each sample.
    """

    raw: Tensor
    index: Tensor


class StoredRows(Rows):
    """N samples that stay on disk: their rows are read on the CPU, then made ready on the device as a whole batch.

    The first step needs no random numbers and may be done by another thread. A subclass that overrides `__getitem__` or
    `augmented` works too; its batches are then made in whatever way it makes them.

    row: the shape of a stored row.
    dtype: its dtype.
    device: the device on which batches are made.
    held: (N, ...) all stored rows in the memory of the device; None where they are read from disk.
    ahead: gives rows that were read ahead for the batch with this index (B,), or None; None where nothing reads ahead.
    """

    row: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device = torch.device("cpu")
    held: Tensor | None = None
    ahead: "Callable[[StoredRows, Tensor], Read | None] | None" = None

    @abstractmethod
    def read(self, index: Tensor, into: Tensor) -> None:
        """Read the stored rows at `index`, (B,) int64 on the CPU, `into` (B, ...), which is on the CPU as well.

        It may be called by another thread and must not draw from torch's default generators.
        """

    @abstractmethod
    def made(self, raw: Tensor, index: Tensor, seed: int | None) -> Tensor:
        """Stored rows (B, ...) on the device -> the samples (B, ...) float32 of a batch.

        index: (B,) int64 on the CPU.
        seed: of the augmentation, as in `augmented`; None for samples as evaluation sees them.
        """

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.made(*self.taken(index), None)

    def augmented(self, index: Tensor, seed: int) -> Tensor:
        return self.made(*self.taken(index), seed)

    def taken(self, index: Tensor) -> Read:
        """The stored rows at `index` (B,): those that were read ahead for this very tensor, or else read now."""
        read = None if self.ahead is None else self.ahead(self, index)
        return self._read_now(index) if read is None else read

    def _read_now(self, index: Tensor) -> Read:
        if self.held is not None:
            return Read(self.held[index.to(self.device)], index.cpu())
        at = index.cpu()
        raw = torch.empty((len(at), *self.row), dtype=self.dtype)
        self.read(at, raw)
        return Read(raw.to(self.device), at)

    @property
    def stored_bytes(self) -> int:
        """The size of all stored rows."""
        return self.shape[0] * math.prod(self.row) * self.dtype.itemsize

    def brought(self) -> Self:
        """The same samples with all stored rows in the memory of the device; they are read block by block."""
        count = max(1, BLOCK // max(1, math.prod(self.row) * self.dtype.itemsize))
        held = torch.empty((self.shape[0], *self.row), dtype=self.dtype, device=self.device)
        blocks = devices.uploads(self.device, (min(count, self.shape[0]), *self.row), self.dtype, 2)
        for index in torch.arange(self.shape[0]).split(count):
            block = blocks.block(len(index))
            self.read(index, block)
            held[index[0] : index[0] + len(index)] = blocks.begin(block)()
        rows = copy.copy(self)
        rows.held = held
        return rows
