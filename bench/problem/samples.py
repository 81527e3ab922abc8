"""Samples as they flow through everything: inputs, batches, the parts of a dataset, and samples that stay on disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task
from mcr_bench.bench.units import divisors


@dataclass
class Inputs:
    """The inputs of a batch of B samples.

    values: modality -> (B, ...), in the shape of the modality: float32, or int64 where they are ids of words.
    lengths: modality -> (B,) int64, the real steps of each padded sequence; only modalities that are padded have one.
    present: modality -> (B,) bool, whether each sample has it; only modalities that some samples of the part lack have
        one. The values of a sample that lacks a modality are the mean training input.
    """

    values: dict[str, Tensor]
    lengths: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)

    def replace(self, values: Mapping[str, Tensor]) -> "Inputs":
        """The same inputs with the values of some modalities replaced; values: modality -> (B, ...)."""
        return Inputs({**self.values, **values}, self.lengths, self.present)

    def copy(self) -> "Inputs":
        """The same tensors in dicts of their own, which may be changed."""
        return Inputs({**self.values}, {**self.lengths}, {**self.present})

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


@dataclass(frozen=True)
class Batch:
    """B samples of a split.

    inputs: the values of every modality.
    target: what losses act on, as in `Split`: (B,), or (B, L) for several labels or scores.
    index: (B,) int64, the index of each sample in its split.
    scores: the labels as the user gave them, if `target` differs from them, see `Split`; else None.
    dropped: modality -> (B,) bool, the samples of which this step drops the modality (`EpochBatches`,
        `encoder.MODALITY.drop_pathway`); only modalities that are dropped for some sample have one.
    own: modality -> (B,) or (B, L), what own heads' losses act on instead of `target`, where the data says what is true
        of a modality alone (`Split.own`).
    """

    inputs: Inputs
    target: Tensor
    index: Tensor
    scores: Tensor | None = None
    dropped: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Tensor] = field(default_factory=dict)

    def target_of(self, modality: str) -> Tensor:
        """What the loss of a modality's own head acts on."""
        return self.own.get(modality, self.target)

    @property
    def labels(self) -> Tensor:
        """The exact target in the user's unit, in its shape: int64, or scores that may be compared by ==."""
        return self.target if self.scores is None else self.scores

    @property
    def having(self) -> dict[str, Tensor]:
        """Modality -> (B,) bool, the samples that have it and of which it is not dropped; none where all are."""
        kept = {m: ~dropped for m, dropped in self.dropped.items()}
        for m, present in self.inputs.present.items():
            kept[m] = kept[m] & present if m in kept else present
        return kept


class Rows(ABC):
    """N samples of one modality that stay on disk: they are gathered by index and made ready as whole batches.

    shape: (N, ...), as if all samples were one tensor.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def __getitem__(self, index: Tensor) -> Tensor:
        """Indices (B,) int64 -> the samples (B, ...) as evaluation sees them, on the device given to `to`.

        They are float32, or int64 where they are ids of words.
        """

    @abstractmethod
    def augmented(self, index: Tensor, seed: int) -> Tensor:
        """Indices (B,) int64 -> the samples (B, ...) float32 as training sees them.

        Modalities with the same augmentation draw the same numbers from the same `seed`.
        """

    @abstractmethod
    def mean(self) -> Tensor:
        """The mean sample (...) float32 as evaluation sees it; padded steps do not count."""

    @abstractmethod
    def to(self, device: torch.device) -> "Rows":
        """The same samples, with batches made on `device`."""


@dataclass(frozen=True)
class Truth:
    """The targets of N samples as one modality alone shows them, for losses of own heads and metrics of modalities.

    target: what losses act on, in the shape and unit of `Split.target`.
    scores: the labels exactly as the user gave them, if `target` differs from them, as `Split.scores`; else None.
    """

    target: Tensor
    scores: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The target in the user's unit."""
        return self.target if self.scores is None else self.scores

    def learned(self, task: Task) -> "Truth":
        """The same truth in the form and the unit that the task learns."""
        if task.multi_label:
            return Truth(self.labels.float(), self.labels.long())
        return Truth(task.learned(self.labels), self.labels.double()) if task.regression else self

    def at(self, index: Tensor) -> "Truth":
        """The truth of the samples at `index` (B,) int64.

        >>> Truth(torch.tensor([3, 4, 5])).at(torch.tensor([2])).labels
        tensor([5])
        """
        return Truth(self.target[index], None if self.scores is None else self.scores[index])

    def to(self, device: torch.device) -> "Truth":
        """A copy on `device`."""
        return Truth(self.target.to(device), None if self.scores is None else self.scores.to(device))


@dataclass
class Split:
    """One part of a dataset with N samples.

    values: modality -> (N, ...), in memory or on disk.
    target: what losses and methods act on: (N,) class indices (int64) or scores (float32); (N, L) labels, 0 or 1, or
        (N, K) several scores (float32).
    ids: the N ids, unique in the dataset.
    groups: the N groups (actor, video, subject), or None if they are unknown.
    lengths: modality -> (N,) int64, the real steps of padded sequences; only modalities that are padded have one.
    scores: the labels exactly as the user gave them, if `target` differs from them: float64 scores, or 0 and 1 as
        int64, in the shape of the target; else None.
    present: modality -> (N,) bool, whether each sample has it; only modalities that some samples lack have one. Values
        and lengths of samples that lack a modality may be anything: `completed` replaces them before training.
    own: modality -> what is true of it alone, for data with a label for each modality; of the others the target is.
    """

    values: Mapping[str, Tensor | Rows]
    target: Tensor
    ids: list[str]
    groups: list[str] | None = None
    lengths: dict[str, Tensor] = field(default_factory=dict)
    scores: Tensor | None = None
    present: dict[str, Tensor] = field(default_factory=dict)
    own: dict[str, Truth] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> Tensor:
        """The target in the user's unit, in which metrics and predictions are."""
        return self.target if self.scores is None else self.scores

    def target_of(self, modality: str) -> Tensor:
        """What the loss of a modality's own head acts on."""
        return self.own[modality].target if modality in self.own else self.target

    def labels_of(self, modality: str) -> Tensor:
        """`target_of` in the user's unit, in which metrics of the modality alone are."""
        return self.own[modality].labels if modality in self.own else self.labels

    def learned(self, task: Task) -> "Split":
        """The same samples with the target in the form and the unit that the task learns.

        What is true of a modality alone is left out of a part of one modality: its head gives the prediction.
        """
        if not (task.multi_label or task.regression or self.own):
            return self
        made = Truth(self.target, self.scores).learned(task)
        own = {m: truth.learned(task) for m, truth in self.own.items()} if len(self.values) > 1 else {}
        return replace(self, target=made.target, scores=made.scores, own=own)

    def batch(self, index: Tensor) -> Batch:
        """The samples at `index` (B,) int64, on the device of the split."""
        return self._batch({m: x[index] for m, x in self.values.items()}, index)

    def training_batch(self, index: Tensor) -> Batch:
        """The samples at `index` (B,) int64, augmented if they stay on disk; draws from torch's default generator."""
        on_disk = {m: x for m, x in self.values.items() if isinstance(x, Rows)}
        if not on_disk:
            return self.batch(index)
        seed = int(torch.randint(2**62, ()))
        values = {m: x.augmented(index, seed) if isinstance(x, Rows) else x[index] for m, x in self.values.items()}
        return self._batch(values, index)

    def _batch(self, values: dict[str, Tensor], index: Tensor) -> Batch:
        lengths = {m: n[index] for m, n in self.lengths.items()}
        inputs = Inputs(values, lengths, {m: has[index] for m, has in self.present.items()})
        own = {m: truth.target[index] for m, truth in self.own.items()}
        scores = None if self.scores is None else self.scores[index]
        return Batch(inputs, self.target[index], index, scores, own=own)

    def to(self, device: torch.device) -> "Split":
        """A copy with its tensors on `device`."""
        values = {m: x.to(device) for m, x in self.values.items()}
        lengths = {m: n.to(device) for m, n in self.lengths.items()}
        present = {m: has.to(device) for m, has in self.present.items()}
        scores = None if self.scores is None else self.scores.to(device)
        made = replace(self, values=values, lengths=lengths, target=self.target.to(device), scores=scores)
        return replace(made, present=present, own={m: truth.to(device) for m, truth in self.own.items()})

    def mean(self) -> dict[str, Tensor]:
        """Modality -> its mean sample (...), which replaces an absent modality.

        Padded steps, and samples that lack the modality, do not count. Of ids of words it is 0: no word.
        """
        return {m: self._mean(m) for m in self.values}

    def mean_lengths(self) -> dict[str, Tensor]:
        """Modality that is padded -> the mean length () int64 of the samples that have it."""
        return {m: self.having(m, n).double().mean().round().long() for m, n in self.lengths.items()}

    def _mean(self, modality: str) -> Tensor:
        values = self.values[modality]
        if isinstance(values, Rows):
            return values.mean()
        if not values.is_floating_point():  # ids of words have no mean: no word takes their place
            return values.new_zeros(values.shape[1:])
        x = self.having(modality, values).float()
        if modality not in self.lengths:
            return x.mean(0)
        mask = self.having(modality, self.mask(modality))
        return (x * mask).sum(0) / mask.sum(0).clamp(min=1)

    def presence(self, modality: str) -> Tensor:
        """(N,) bool, whether each sample has the modality."""
        return self.present.get(modality, torch.ones(len(self), dtype=torch.bool, device=self.target.device))

    def having(self, modality: str, rows: Tensor) -> Tensor:
        """Of rows (N, ...), one per sample, those of samples that have the modality."""
        present = self.present.get(modality)
        return rows if present is None else rows[present]

    def mask(self, modality: str) -> Tensor:
        """(N, T, 1) bool: which steps of a padded modality (T, C) are real."""
        steps = torch.arange(self.values[modality].shape[1], device=self.target.device)
        return (steps < self.lengths[modality][:, None])[..., None]


@dataclass
class Splits:
    """The three parts of a dataset under one protocol and fold.

    train: the part that is trained on.
    val: the part that selects the epoch.
    test: the part that is read once, after selection.
    notes: name -> number, facts about this load that are recorded with the run.
    """

    train: Split
    val: Split
    test: Split
    notes: dict[str, float] = field(default_factory=dict)


def target_of(labels: Array) -> tuple[Tensor, Tensor | None]:
    """The `target` and `scores` of a `Split` from its labels (N,), or (N, L) if a sample has several labels or scores.

    Class indices (N,) of any integer dtype give (int64, None); labels (N, L), whole numbers or bools that are 0 or 1,
    give (float32, int64); scores of any floating dtype give (float32, float64).

    >>> import numpy as np
    >>> target_of(np.array([2, 0]))
    (tensor([2, 0]), None)
    """
    tensor = torch.from_numpy(labels)
    if tensor.is_floating_point():
        return tensor.float(), tensor.double()
    return (tensor.long(), None) if tensor.ndim == 1 else (tensor.float(), tensor.long())


def require_spread(task: Task, labels: Array, where: str) -> None:
    """UserError that names `where` if the training labels (N,) or (N, K) cannot be scaled as the task requires."""
    try:
        task.fitted(torch.from_numpy(labels))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def channel_axis(values: Tensor) -> int:
    """The axis of channels of samples (N, ...): the last of vectors (D,) and sequences (T, C), C of (..., C, H, W)."""
    return values.ndim - 1 if values.ndim < 4 else values.ndim - 3


def channel_rows(values: Tensor, real: Tensor | None) -> Tensor:
    """The channels (n, C) of all steps and pixels of samples (N, ...).

    real: (N, T, 1) bool, which steps of padded sequences count; None for all.
    """
    return values[real[..., 0]] if real is not None else values.movedim(channel_axis(values), -1).flatten(0, -2)


def standardise(splits: Splits) -> Splits:
    """Give each channel zero mean and unit variance over the training part; channels that are constant become 0.

    `channel_axis` says which axis that is. Padded steps do not count and become 0; samples that lack a modality do not
    count in it. Changes the values of `splits`, and returns it.
    """
    parts = (splits.train, splits.val, splits.test)
    for modality, x in splits.train.values.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            continue  # samples on disk are standardised batch by batch, and ids of words are not
        channel = channel_axis(x)
        padded, having = modality in splits.train.lengths, splits.train.having
        steps = having(modality, splits.train.mask(modality)) if padded else None
        real = channel_rows(having(modality, x), steps)
        if not len(real):
            continue  # no training sample has it, which `completed` refuses
        mean, std = real.double().mean(0), real.double().std(0, correction=0)
        std = divisors(mean, std)
        for part in parts:
            values = part.values[modality]
            assert isinstance(values, Tensor)
            scaled = ((values.double().movedim(channel, -1) - mean) / std).movedim(-1, channel)
            masked = scaled * part.mask(modality) if padded else scaled
            part.values = {**part.values, modality: masked.float().contiguous()}
    return splits
