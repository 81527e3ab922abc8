"""The contract of a dataset adapter: what it declares, how it prepares and loads, and the splits it gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.facts import Facts, Modality, Protocol
from mcr_bench.bench.problem.inventory import Inventory, parts_of
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.problem.samples import Batch, Inputs, Rows, Split, Splits, require_spread, standardise, target_of
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
    "require_spread",
    "standardise",
    "target_of",
]


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

    def damaged(self) -> Iterator[str] | None:
        """The ids of prepared samples that are not what was written; may read all of them. None where no checksums of
        samples are kept, as of data that is used without preparation.
        """
        return None
