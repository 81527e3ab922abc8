"""A dataset as it is checked: how it is made anew, and what its protocols and folds load."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset, placed
from mcr_bench.bench.catalog.user_classes import packaged
from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.errors import in_words
from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.problem.samples import Rows, Split, Splits
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.datasets.base import Dataset

PARTS = ("train", "val", "test")
MOST_FOLDS = 3  # of each protocol that are loaded
MOST_ROWS = 16  # of samples that stay on disk: media are too many to be read in a check
SEEDS = (0, 1)
Loaded = tuple[str, int, int]


@dataclass(frozen=True)
class DataCase:
    """A dataset with its settings.

    name: as on the command line.
    data_root: the parent folder of prepared datasets.
    dials: the values of its settings; defaults for others.
    """

    name: str
    data_root: Path
    dials: Mapping[str, Value] = field(default_factory=dict)
    kept: dict[Loaded, Splits] = field(default_factory=dict)

    def made(self) -> Dataset:
        """The dataset, made anew."""
        cls = None if registry.is_file(self.name) else packaged(self.name)
        if cls is None:
            return make_dataset(self.name, self.data_root, self.dials)
        assert issubclass(cls, Dataset)
        return placed(cls, self.name, self.data_root, self.dials)

    @cached_property
    def refused(self) -> str:
        """Why the default protocol cannot be loaded; '' if it can."""
        try:
            with trial():
                self.loaded(*self.default)
        except (Exception, SystemExit) as error:  # of any type: the code is somebody else's
            return in_words(error)
        return ""

    @property
    def default(self) -> tuple[str, int]:
        """The default protocol and its first fold."""
        name, protocol = next(iter(self.made().protocols().items()))
        return name, protocol.folds[0]

    def folds(self) -> Iterator[tuple[str, int]]:
        """(protocol, fold) of every protocol; of many folds the first, the second and the last."""
        for name, protocol in self.made().protocols().items():
            folds = protocol.folds
            chosen = folds if len(folds) <= MOST_FOLDS else (*folds[: MOST_FOLDS - 1], folds[-1])
            yield from ((name, fold) for fold in chosen)

    def loaded(self, protocol: str, fold: int, seed: int = SEEDS[0]) -> Splits:
        """The parts with all modalities, loaded once."""
        key = protocol, fold, seed
        if key not in self.kept:
            self.kept[key] = self.load(*key)
        return self.kept[key]

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...] | None = None) -> Splits:
        """The parts, loaded anew."""
        data = self.made()
        return data.load(protocol, fold, seed, tuple(data.facts().modalities) if modalities is None else modalities)


def parts_of(splits: Splits) -> dict[str, Split]:
    """The parts by name."""
    return {"train": splits.train, "val": splits.val, "test": splits.test}


def values_of(part: Split, modality: str) -> Tensor:
    """The samples (N, ...) of a modality; of those on disk the first few."""
    values = part.values[modality]
    if isinstance(values, Rows):
        return values[torch.arange(min(MOST_ROWS, len(part)))]
    return values


def apart(first: Splits, second: Splits) -> str:
    """In what two loads differ, in words; '' if they have the same samples, bit for bit."""
    for name, part in parts_of(first).items():
        other = parts_of(second)[name]
        if part.ids != other.ids:
            return f"the ids of part {name}"
        if not torch.equal(part.labels, other.labels):
            return f"the labels of part {name}"
        for m in part.values:
            if not _equal(values_of(part, m), values_of(other, m)):
                return f"the values of '{m}' in part {name}"
    return ""


def _equal(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors have the same numbers, and NaN in the same places."""
    return x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())


def disturb(seed: int) -> None:
    """Leave the global generator of torch at another place, as other code does."""
    torch.rand(3)
    torch.default_generator.manual_seed(int(torch.randint(2**30, (), generator=generator(seed, "data", "disturb"))))
