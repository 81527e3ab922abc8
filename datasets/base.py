"""The contract of a dataset adapter: what it declares, how it prepares and loads, and the splits that it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.facts import Facts, Modality, Protocol
from mcr_bench.bench.problem.inventory import Inventory, parts_of
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.problem.samples import (
    Batch,
    Inputs,
    Rows,
    Split,
    Splits,
    Truth,
    require_spread,
    standardise,
    target_of,
)
from mcr_bench.bench.problem.stored import StoredRows
from mcr_bench.bench.settings.declaration import Value

__all__ = [
    "Batch",
    "Card",
    "Dataset",
    "Facts",
    "Inputs",
    "Modality",
    "Preparation",
    "Protocol",
    "Rows",
    "Split",
    "Splits",
    "StoredRows",
    "Truth",
    "require_spread",
    "standardise",
    "target_of",
]


@dataclass(frozen=True)
class Card:
    """Everything that a new user must know to provide the data.

    title: the full name of the dataset, with its paper.
    homepage: the address of its page.
    licence: the terms of its use.
    layout: the exact folder tree that `prepare` reads.
    expected: how many clips there are.
    download: what to download, and from whom.
    size: the disk space of the raw files.
    protocols: one line for each protocol, with the lists that it needs.
    """

    title: str
    homepage: str
    licence: str
    layout: str
    expected: str
    download: str = ""
    size: str = ""
    protocols: str = ""


def _ignore(done: int, total: int) -> None:
    """Progress that is not shown."""


def _silent(text: str) -> None:
    """A remark that is not shown."""


@dataclass(frozen=True)
class Preparation:
    """A request to prepare a dataset.

    source: the raw folder, which is only read.
    splits: files with split lists that the user gives.
    jobs: the number of worker processes.
    progress: called with (clips done, all clips) from time to time.
    tell: called with what a user should know before a long preparation begins, such as the disk space that it needs.
    """

    source: Path
    splits: Sequence[Path] = ()
    jobs: int = 1
    progress: Callable[[int, int], None] = _ignore
    tell: Callable[[str], None] = _silent


@dataclass
class Dataset(ABC):
    """A dataset adapter, one in each file. A subclass is a dataclass; its fields made with `setting` are its settings.

    name: the name by which users choose the dataset.
    card: what a user must know to provide the data.
    suffixes: the suffixes of the user's files that the adapter reads; empty if the dataset is prepared or generated.
    folder_mark: the file by which the adapter knows a folder of the user's that it reads; '' if it reads none.
    group_name: what a group is: actor, video, subject.
    optional: modalities that the data may lack; a preset may have settings for them all the same.
    location: the user's file or folder if the adapter declares `suffixes`, else the prepared folder DATA_ROOT/NAME.
    """

    name: ClassVar[str]
    card: ClassVar[Card] = Card(title="", homepage="", licence="not stated", layout="", expected="")
    suffixes: ClassVar[tuple[str, ...]] = ()
    folder_mark: ClassVar[str] = ""
    group_name: ClassVar[str] = "group"
    optional: ClassVar[tuple[str, ...]] = ()
    location: Path

    @property
    def label(self) -> str:
        """The name shown in the record and in tables."""
        return self.location.name if self.suffixes else self.name

    @classmethod
    def conversion(cls, path: Path) -> str:  # noqa: ARG003 (adapters of files use it)
        """What a file or folder of another format is, and how to convert it; '' if unknown. For adapters of files."""
        return ""

    @abstractmethod
    def facts(self) -> Facts:
        """Modalities, task, class names and notes; UserError with instructions if the data is missing or wrong."""

    def acting(self, dials: Mapping[str, Value]) -> dict[str, Value]:
        """The settings that belong to the key of a run: those with an effect, and files by their content.

        dials: name -> value of all settings of the dataset. `target_scale`, which adapters of scores pass to their
        `Task`, has no effect on classes.
        """
        idle = {"target_scale"} & dials.keys()
        return {k: v for k, v in dials.items() if k not in idle or self.facts().task.regression}

    @abstractmethod
    def protocols(self) -> dict[str, Protocol]:
        """Name -> protocol; the first is the default."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of the content that a run depends on, wherever the files are."""

    def require(self, protocol: str, fold: int) -> None:  # noqa: B027 (most datasets cannot check anything earlier)
        """UserError if a part of the fold is empty. It is called before anything is trained, so it must be fast."""

    @abstractmethod
    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The three parts with these modalities, standardised with statistics of the training part.

        seed: the seed of generated data. UserError for an unknown protocol, fold or modality.
        """

    def prepare(self, request: Preparation) -> str:
        """Prepare the raw files in `request.source`, which are only read, into `location`; returns a report."""
        raise UserError(f"dataset '{self.name}' needs no preparation. Use it directly: `mcr-bench run`.")

    def use_lists_alone(self, folder: Path) -> None:
        """Take the samples from the split lists in `folder` alone, for their audit; UserError without such lists."""
        raise UserError(f"dataset '{self.name}' has no split lists that can be audited alone. Leave --lists out.")

    @property
    def needs_preparation(self) -> bool:
        """Whether raw files must be prepared before they can be used."""
        return type(self).prepare is not Dataset.prepare

    @property
    def prepared_size(self) -> tuple[int, int] | None:
        """(clips, bytes) of the whole dataset when prepared with the present settings; None if that is not known."""
        return None

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """Part (train, val, test) -> targets (n,), int64 or float, for the overview before training.

        It is empty if the targets are not available without decoding recordings. Data that needs no preparation is
        loaded for it; override the method if the targets can be read faster.
        """
        if self.needs_preparation:
            return {}
        splits = self.load(protocol, fold, seed, tuple(self.facts().modalities))
        parts = {"train": splits.train, "val": splits.val, "test": splits.test}
        return {name: split.target.numpy() for name, split in parts.items()}

    def findings(self) -> list[str]:
        """What looks wrong in the samples: lines without a full stop, shown before training. It must be fast."""
        return []

    def parts(self, protocol: str, fold: int) -> Parts:
        """The samples of each part, for the audit; generated data is that of seed 0."""
        splits = self.load(protocol, fold, 0, tuple(self.facts().modalities))
        return parts_of({"train": splits.train, "val": splits.val, "test": splits.test}, self.group_name)

    def inventory(self) -> Inventory:
        """Which clips of the dataset are available and which are missing."""
        name, protocol = next(iter(self.protocols().items()))
        return Inventory(len(self.parts(name, protocol.folds[0]).ids))

    def damaged(self) -> Iterator[str] | None:
        """The ids of prepared samples that differ from what was written; may read all of them.

        None if checksums of samples are not available, as for data that is used without preparation.
        """
        return None
