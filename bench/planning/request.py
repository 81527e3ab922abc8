"""A comparison as it is requested, and a dataset set up for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.presets import Preset
from mcr_bench.bench.planning.classes import Classes, classes_of
from mcr_bench.bench.planning.family import family_of
from mcr_bench.bench.settings.declaration import Value

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Facts, Protocol


@dataclass
class Request:
    """A comparison as it is requested.

    methods: names of methods, files that define one, or `all`.
    datasets: names of datasets, or files.
    data_root: the folder of prepared datasets.
    modalities: the modalities to train on; None for all.
    seeds: the seeds; None for those of the preset.
    fold: the fold of every seed; None if folds take turns.
    protocol: the protocol; None for the dataset's first.
    preset: the preset; None for the dataset's first.
    overrides: dotted key -> one or more values; all combinations are run.
    points: settings that vary together, each combined with the overrides; empty for none.
    pairs: (seed, fold) of every repetition, which replace seeds and fold.
    family: the methods of the primary test; None for the usual ones.
    optional: whether what is not available here is listed in the plan, instead of being an error.
    title: the title of the comparison.
    locate: adds the place in a file to the text of an error.
    """

    methods: list[str]
    datasets: list[str]
    data_root: Path = Path("data")
    modalities: tuple[str, ...] | None = None
    seeds: list[int] | None = None
    fold: int | None = None
    protocol: str | None = None
    preset: str | None = None
    overrides: Mapping[str, list[str]] = field(default_factory=dict)
    points: Sequence[Mapping[str, str]] = ()
    pairs: Sequence[tuple[int, int]] | None = None
    family: list[str] | None = None
    optional: bool = False
    title: str = ""
    locate: Callable[[str], str] = str

    @cached_property
    def classes(self) -> Classes:
        """The classes of its names, looked up once; UserError for an unknown name unless the request is optional."""
        return classes_of(self.methods, self.datasets, self.optional)

    @cached_property
    def primary(self) -> frozenset[str]:
        """The names of the methods in the family of the primary test; UserError for a family that cannot be."""
        return family_of([cls for _, cls in self.classes.methods], self.family)


@dataclass
class DatasetSetup:
    """A dataset with its settings, under one protocol: what all runs of a comparison on it share.

    name: the dataset's name or file, as it was requested.
    data: the dataset.
    classes: the classes of the request.
    dials: the settings of the dataset.
    facts: its task and modalities.
    protocol: the protocol.
    modalities: the modalities to train on, in the dataset's order.
    preset: the preset.
    fingerprint: a digest of the data.
    data_root: the folder of prepared datasets.
    primary: the methods in the family of the primary test.
    """

    name: str
    data: "Dataset"
    classes: Classes
    dials: dict[str, Value]
    facts: "Facts"
    protocol: "Protocol"
    modalities: tuple[str, ...]
    preset: Preset
    fingerprint: str
    data_root: Path
    primary: frozenset[str]
