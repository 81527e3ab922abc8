"""Samples as they flow through everything: inputs, batches, the parts of a data set, samples that stay on disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task


@dataclass
class Inputs:
    """A batch's inputs: `values[m]` is (B, ...); `lengths[m]` (B,) int64 for padded sequences, absent otherwise."""

    values: dict[str, Tensor]
    lengths: dict[str, Tensor] = field(default_factory=dict)

    def replace(self, values: Mapping[str, Tensor]) -> "Inputs":
        """The same batch with some modalities' values replaced."""
        return Inputs({**self.values, **values}, self.lengths)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True)
class Batch:
    """inputs, target (B,) that losses act on, the index (B,) of each sample in its split, and scores as in `Split`."""

    inputs: Inputs
    target: Tensor
    index: Tensor
    scores: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The target (B,) in the user's unit, exact: class indices, or scores that may be compared for equality."""
        return self.target if self.scores is None else self.scores


class Rows(ABC):
    """Samples (N, ...) of one modality that stay on disk: gathered by index, and made ready as whole batches."""

    shape: tuple[int, ...]

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Tensor:
        """(B,) -> (B, ...) as evaluation sees them, on the device of `to`."""

    @abstractmethod
    def augmented(self, index: Tensor, seed: int) -> Tensor:
        """(B,) -> (B, ...) as training sees them; modalities that are augmented alike draw alike from `seed`."""

    @abstractmethod
    def mean(self) -> Tensor:
        """The mean sample (...) as evaluation sees it; padded steps do not count."""

    @abstractmethod
    def to(self, device: torch.device) -> "Rows":
        """The same samples, whose batches are made on `device`."""


@dataclass
class Split:
    """One part of the data. values[m]: (N, ...) in memory or on disk; lengths[m]: (N,) for padded sequences.

    target: (N,) what losses and methods act on, class indices (int64) or scores (float32). scores: (N,) float64, a
    regression's scores as the user gave them, where `target` is not exactly that.
    """

    values: Mapping[str, Tensor | Rows]
    target: Tensor
    ids: list[str]
    groups: list[str] | None = None
    lengths: dict[str, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Tensor:
        """The target (N,) in the user's unit: what metrics and predictions are about."""
        return self.target if self.scores is None else self.scores

    def learned(self, task: Task) -> "Split":
        """The same samples, whose target is in the unit that the task learns."""
        if not task.regression:
            return self
        return replace(self, target=task.learned(self.labels), scores=self.labels.double())

    def batch(self, index: Tensor) -> Batch:
        """The samples at `index` (B,), on the split's device."""
        return self._batch({m: x[index] for m, x in self.values.items()}, index)

    def training_batch(self, index: Tensor) -> Batch:
        """The samples at `index` (B,), augmented where the data is; draws from torch's default generator."""
        on_disk = {m: x for m, x in self.values.items() if isinstance(x, Rows)}
        if not on_disk:
            return self.batch(index)
        seed = int(torch.randint(2**62, ()))
        values = {m: x.augmented(index, seed) if isinstance(x, Rows) else x[index] for m, x in self.values.items()}
        return self._batch(values, index)

    def _batch(self, values: dict[str, Tensor], index: Tensor) -> Batch:
        inputs = Inputs(values, {m: n[index] for m, n in self.lengths.items()})
        return Batch(inputs, self.target[index], index, None if self.scores is None else self.scores[index])

    def to(self, device: torch.device) -> "Split":
        """A copy whose tensors live on `device`."""
        values = {m: x.to(device) for m, x in self.values.items()}
        lengths = {m: n.to(device) for m, n in self.lengths.items()}
        scores = None if self.scores is None else self.scores.to(device)
        return replace(self, values=values, lengths=lengths, target=self.target.to(device), scores=scores)

    def mean(self) -> dict[str, Tensor]:
        """The mean sample of every modality, (...): stands in for an absent modality. Padded steps do not count."""
        return {m: self._mean(m) for m in self.values}

    def _mean(self, modality: str) -> Tensor:
        found = self.values[modality]
        if isinstance(found, Rows):
            return found.mean()
        x = found.float()
        if modality not in self.lengths:
            return x.mean(0)
        mask = self.mask(modality)
        return (x * mask).sum(0) / mask.sum(0).clamp(min=1)

    def mask(self, modality: str) -> Tensor:
        """(N, T, 1) bool: the real steps of a padded modality (T, C)."""
        steps = torch.arange(self.values[modality].shape[1], device=self.target.device)
        return (steps < self.lengths[modality][:, None])[..., None]


@dataclass
class Splits:
    """The three parts. `test` is read once, after selection. notes: what is known of this load, to be recorded."""

    train: Split
    val: Split
    test: Split
    notes: dict[str, float] = field(default_factory=dict)


def target_of(labels: NDArray[Any]) -> tuple[Tensor, Tensor | None]:
    """`target` and `scores` of a `Split` from labels (N,): class indices int64 and None, scores float32 and float64."""
    found = torch.from_numpy(labels)
    return (found.float(), found.double()) if found.is_floating_point() else (found.long(), None)


def require_spread(task: Task, labels: NDArray[Any], where: str) -> None:
    """UserError naming `where` if the training labels (N,) cannot be scaled as the task asks."""
    try:
        task.fitted(torch.from_numpy(labels))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def standardise(splits: Splits) -> Splits:
    """Zero mean and unit variance per channel, with statistics of the training part; constant channels become 0.

    The channel axis is the last of vectors and sequences (D,) and (T, C), and C of (C, H, W) and (T, C, H, W).
    The padded steps of a padded modality count for nothing and become 0.
    """
    parts = (splits.train, splits.val, splits.test)
    for modality, x in splits.train.values.items():
        if not isinstance(x, Tensor):
            continue  # samples on disk are standardised batch by batch
        channel = x.ndim - 1 if x.ndim < 4 else x.ndim - 3
        padded = modality in splits.train.lengths
        real = x[splits.train.mask(modality)[..., 0]] if padded else x.movedim(channel, -1).flatten(0, -2)
        mean, std = real.double().mean(0), real.double().std(0, correction=0)
        std = torch.where(std > 1e-8, std, torch.ones_like(std))
        for part in parts:
            values = part.values[modality]
            assert isinstance(values, Tensor)
            scaled = ((values.double().movedim(channel, -1) - mean) / std).movedim(-1, channel)
            made = (scaled * part.mask(modality) if padded else scaled).float().contiguous()
            part.values = {**part.values, modality: made}
    return splits
