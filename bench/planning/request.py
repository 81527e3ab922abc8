"""A comparison as asked for, and a dataset set up for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.presets import Preset
from mcr_bench.bench.planning.classes import Classes, classes_of
from mcr_bench.bench.settings.declaration import Value

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset, Facts, Protocol


@dataclass
class Request:
    """A comparison as asked for.

    overrides: dotted key -> one or more values (a grid). points: settings that vary together, each crossed with the
    grid; empty = one point without any. seeds None: the preset's; pairs: (seed, fold) of every repetition, in the place
    of seeds and fold. optional: what is not offered here is listed in the plan instead of being an error. locate: an
    error's text -> that text with the place in a file that it is about.
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
    optional: bool = False
    title: str = ""
    locate: Callable[[str], str] = str

    @cached_property
    def classes(self) -> Classes:
        """The classes that it names, looked up once; UserError for an unknown name unless it is `optional`."""
        return classes_of(self.methods, self.datasets, self.optional)


@dataclass
class Scene:
    """One dataset with its dials set, under one protocol: what every run of a comparison on it shares."""

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
