"""The contract of a dataset adapter: what it declares, how it prepares and loads, and the splits it gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Inputs
from mcr_bench.bench.settings import Value
from mcr_bench.bench.task import Task
from mcr_bench.datasets._audit import Parts
from mcr_bench.datasets._info import info_of, preparation_of
from mcr_bench.datasets._npz import Array
from mcr_bench.datasets._verify import Inventory, Verification, parts_of, verification_of


@dataclass(frozen=True)
class Modality:
    """Shape of one sample, without the batch axis: (D,) vectors, (T, C) sequences, (C, H, W) images or
    (T, C, H, W) clips.

    padded: the sequences have lengths of their own, given in `Inputs.lengths`.
    """

    shape: tuple[int, ...]
    padded: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of the data before any of it is used for training. notes: to be told before the runs begin."""

    modalities: dict[str, Modality]
    task: Task
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """A named split rule with its selection set, metric and folds. Tables never mix protocols in one column."""

    name: str
    split: str
    selection: str
    metric: str
    folds: tuple[int, ...] = (1,)
    note: str = ""

    @property
    def card(self) -> str:
        """One line for the foot of a table."""
        line = (
            f"{self.name}: {self.split}; selected on {self.selection}; metric {self.metric}; folds {list(self.folds)}"
        )
        return f"{line}; {self.note}" if self.note else line


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


@dataclass(frozen=True)
class Card:
    """What a stranger must know to bring the data: `layout` is the exact folder tree that `prepare` reads.

    download: what to fetch and from whom; size: how much room the raw files take; protocols: those that there are, a
    line each, with the lists that they need.
    """

    title: str
    homepage: str
    licence: str
    layout: str
    expected: str
    download: str = ""
    size: str = ""
    protocols: str = ""


def _say_nothing(done: int, total: int) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Preparation:
    """How to prepare. splits: files with split lists that the user names; progress: told (done, total) now and then."""

    source: Path
    splits: Sequence[Path] = ()
    jobs: int = 1
    progress: Callable[[int, int], None] = _say_nothing


@dataclass
class Dataset(ABC):
    """A dataset adapter; one per file. A subclass is a dataclass whose fields are its dials, made with `setting(...)`.

    `location` is the user's file for adapters that declare `suffixes`, else the prepared folder DATA_ROOT/NAME.
    `group_name`: what a group is (actor, video, subject).
    """

    name: ClassVar[str]
    card: ClassVar[Card]
    suffixes: ClassVar[tuple[str, ...]] = ()
    group_name: ClassVar[str] = "group"
    location: Path

    @property
    def label(self) -> str:
        """The name shown in the record and in tables."""
        return self.location.name if self.suffixes else self.name

    @classmethod
    def conversion(cls, path: Path) -> str:  # noqa: ARG003 (adapters of files look at it)
        """For adapters of files: what a file or folder of another form is, and how to convert it; '' where unknown."""
        return ""

    @abstractmethod
    def facts(self) -> Facts:
        """Modalities and task; UserError with instructions where the data is missing or bad."""

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """What of the dials belongs to a run's key: those that act, and files by their content.

        A dial `target_scale`, which adapters of scores hand to their `Task`, does not act on classes.
        """
        idle = {"target_scale"} & dials.keys()
        return {k: v for k, v in dials.items() if k not in idle or self.facts().task.regression}

    @abstractmethod
    def protocols(self) -> dict[str, Protocol]:
        """The protocols by name; the first is the default."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of the content that a run depends on (not of the place where it lies)."""

    def require(self, protocol: str, fold: int) -> None:  # noqa: B027 (nothing that most sets could know sooner)
        """UserError where a part of the fold is empty: asked before anything is trained, so it must be quick."""

    @abstractmethod
    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The three parts, standardised with statistics of the training part."""

    def prepare(self, request: Preparation) -> str:
        """Raw files in `request.source` (only read) -> `location`; returns what was done, in words."""
        raise UserError(f"dataset '{self.name}' needs no preparation.")

    @property
    def needs_preparation(self) -> bool:
        """Whether raw files must be prepared before they can be used."""
        return type(self).prepare is not Dataset.prepare

    @property
    def prepared_size(self) -> tuple[int, int] | None:
        """(clips, bytes) of the whole set once it is prepared under the present dials; None where nobody can tell."""
        return None

    def preparation(self) -> dict[str, str]:
        """The room that the prepared set takes, and the command that prepares it, as far as there are such."""
        return preparation_of(self)

    def info(self) -> str:
        """What to download and from whom, its licence, sizes, layout and protocols, and how to prepare it."""
        return info_of(self)

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, NDArray[Any]]:
        """Part -> targets (n,), told before training; no part where they cannot be had without decoding recordings.

        Data that needs no preparation is loaded for it: override where they can be had faster.
        """
        if self.needs_preparation:
            return {}
        splits = self.load(protocol, fold, seed, tuple(self.facts().modalities))
        parts = {"train": splits.train, "val": splits.val, "test": splits.test}
        return {name: split.target.numpy() for name, split in parts.items()}

    def findings(self) -> list[str]:
        """What is odd in the samples, a line each without a full stop, told before training; must be quick."""
        return []

    def parts(self, protocol: str, fold: int) -> Parts:
        """The samples of each part, for the audit; generated sets are those of seed 0."""
        splits = self.load(protocol, fold, 0, tuple(self.facts().modalities))
        return parts_of({"train": splits.train, "val": splits.val, "test": splits.test}, self.group_name)

    def inventory(self) -> Inventory:
        """What is there of the set and what is missing."""
        name, protocol = next(iter(self.protocols().items()))
        return Inventory(len(self.parts(name, protocol.folds[0]).ids))

    def verify(self, content: bool = False) -> Verification:
        """Counts against the known variants, what is missing, and the audit of every protocol and fold.

        content: every prepared sample is compared with what was written. UserError with instructions where the data is
        missing or damaged.
        """
        return verification_of(self, content)

    def damaged(self) -> Iterator[str] | None:
        """The ids of prepared samples that are not what was written; may read all of them. None where no checksums of
        samples are kept, as of data that is used without preparation.
        """
        return None


def target_of(labels: Array) -> tuple[Tensor, Tensor | None]:
    """`target` and `scores` of a `Split` from labels (N,): class indices int64 and None, scores float32 and float64."""
    found = torch.from_numpy(labels)
    return (found.float(), found.double()) if found.is_floating_point() else (found.long(), None)


def require_spread(task: Task, labels: Array, where: str) -> None:
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
