"""Datasets of clips: an adapter describes its raw files; preparing, opening and splitting are the same for all.

A raw folder becomes a cache in DATA_ROOT/NAME/RECIPE-DIGEST: one memory-mapped array per field of the recipe, with one
row per clip, an index and a manifest. Each recipe has a cache of its own.
"""

import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mcr_bench.bench.audit.info import in_words, info_of
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.problem.inventory import Inventory
from mcr_bench.bench.problem.overlaps import Parts, note_of
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Dataset, Facts, Modality, Preparation, Protocol, Split, Splits, Truth, target_of
from mcr_bench.datasets.cache.libraries import versions
from mcr_bench.datasets.cache.opened import Cache, cache_folder, open_cache
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.clips.crossed import Crossed, index_of, with_crossed
from mcr_bench.datasets.clips.lists_alone import cache_of_lists
from mcr_bench.datasets.clips.rows import CachedRows, View
from mcr_bench.datasets.contents.table import require_parts
from mcr_bench.datasets.raw.extracted import LIST as EXTRACTED
from mcr_bench.datasets.raw.lists import without_entries
from mcr_bench.datasets.raw.raw_files import reading

__all__ = ["Clip", "ClipDataset", "Field", "Recipe", "Rule", "Scan", "Variant"]

LARGE = 10**9  # bytes of a cache for which the needed space is stated first
MOST_FOLDERS = 20  # folders in the source that are searched for the dataset itself


@dataclass(frozen=True)
class Rule:
    """A protocol as the adapter states it.

    split: how the clips are divided into training, validation and test, in words.
    selection: the part that selects the epoch, in words.
    metric: the name of the main metric.
    part: fold -> (N,) text, the part of each of N clips: train, val, test, or '' if it is unused.
    folds: the numbers of the folds.
    note: anything a reader of a table must know.
    """

    split: str
    selection: str
    metric: str
    part: Callable[[int], Array]
    folds: tuple[int, ...] = (1,)
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """A known state of a dataset, recognised by its number of usable clips.

    clips: the number of clips.
    name: the state in words, such as "the vavl list".
    """

    clips: int
    name: str


class ClipDataset(Dataset):
    """The base of adapters of raw media and of features on disk. The settings of a subclass decide its recipe.

    variants: the known states of the dataset.
    label_field: the field with the labels of a clip, (L,) of 0 and 1, where it may have several; else ''.
    """

    @abstractmethod
    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        """The clips of a raw folder in the order of ids; UserError with the layout if it is another folder.

        splits: files with split lists that the user gives.
        """

    @abstractmethod
    def recipe(self) -> Recipe:
        """How clips are decoded with the present settings."""

    @abstractmethod
    def view(self, modality: str, cache: Cache, train: Array) -> View:
        """How batches of a modality are made from a field of the cache.

        train: (n,) int64, the indices of the training clips, from which statistics are computed.
        """

    @abstractmethod
    def modalities(self) -> dict[str, Modality]:
        """Modality -> the shape of a sample as the model sees it."""

    @abstractmethod
    def rules(self, cache: Cache) -> dict[str, Rule]:
        """Name -> protocol, for the protocols that are available with this cache and its lists, the default first."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of their indices; empty for regression."""

    variants: ClassVar[tuple[Variant, ...]] = ()
    label_field: ClassVar[str] = ""

    def own_labels(self, cache: Cache) -> dict[str, Array]:
        """Modality -> (n,) labels as it alone shows them, as those of the index; only modalities that have such."""
        return {}

    def listed(self, source: Path, splits: Sequence[Path]) -> Scan:
        """Every clip that the lists in a folder contain, as if its files were available; UserError without lists."""
        raise UserError(f"dataset '{self.name}' has no split lists that can be audited alone. Verify it when prepared.")

    def use_lists_alone(self, folder: Path) -> None:
        """From now on the dataset is every clip of the lists in `folder`, without samples: for their audit."""
        with reading(folder):
            scan = self.listed(folder, ())
        self._forget()
        self.__dict__["cache"] = cache_of_lists(self.name, self.recipe(), scan)

    def crossed(self, part: Array) -> dict[str, Crossed]:
        """Part -> samples that are made of two of its clips, after its own; none by default.

        part: (N,) text, the part of each of the N clips of the cache.
        """
        return {}

    def further(self, cache: Cache) -> dict[str, Sequence[str]]:
        """What else the audit compares beside the whole content, such as "text" -> n codes of it."""
        return {}

    def missing_clips(self, cache: Cache) -> dict[str, list[str]]:
        """Split list -> the ids of its clips that are not in the cache."""
        return {}

    @property
    def prepared_size(self) -> tuple[int, int] | None:
        """The number of clips of the largest known variant, and the bytes of their rows; None without variants."""
        clips = max((variant.clips for variant in self.variants), default=0)
        return (clips, clips * self.recipe().row_bytes) if clips else None

    def inventory(self) -> Inventory:
        """The clips of the cache beside the known variants, with what was left out and what the lists lack."""
        manifest, alone = self.cache.manifest, not self.cache.index.contents
        return Inventory(
            len(self.cache.index.ids),
            variants=() if alone else tuple((variant.clips, variant.name) for variant in self.variants),
            left_out=_pairs((*manifest["problems"], *manifest["quarantine"])),
            missing=self.missing_clips(self.cache),
            unusable=len(manifest["quarantine"]),
            libraries=tuple(manifest.get("libraries", ())),
            installed=versions(self.recipe().libraries),
            findings=_pairs(manifest.get("findings", ())),
            notes=_pairs(manifest.get("notes", ())),
            lists_alone=alone,
        )

    def damaged(self) -> Iterator[str]:
        """The ids of clips with cached rows that have changed since they were written; reads every row once."""
        return self.cache.damaged()

    @property
    def folder(self) -> Path:
        """The folder of the cache of the present recipe."""
        return cache_folder(self.location, self.recipe())

    @cached_property
    def cache(self) -> Cache:
        """The prepared clips; UserError with instructions if they are not prepared with this recipe."""
        if not self.folder.is_dir():
            raise UserError(self.missing())
        cache = open_cache(self.folder)
        if not self.label_field:
            return cache
        several = np.asarray(cache.array(self.label_field))[cache.rows].astype(np.int64)
        return replace(cache, index=replace(cache.index, labels=several))

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        """The rules, which are computed from the lists once, because they are needed for each fold."""
        return self.rules(self.cache)

    def missing(self) -> str:
        """The error for data that is not prepared, with the text of `data info`."""
        others = sorted(p.parent.name for p in self.location.glob("*/manifest.json"))
        other = f" It is prepared with other settings: {', '.join(others)}." if others else ""
        return f"{self.name} is not prepared in '{self.folder}'.{other}\n{info_of(self)}"

    def facts(self) -> Facts:
        """Modalities, task and class names; UserError with instructions if the data is not prepared."""
        _ = self.cache
        count = len(self.class_names) or None
        task = Task(None, labels=count) if self.label_field else Task(count)
        return Facts(self.modalities(), task, self.class_names)

    def protocols(self) -> dict[str, Protocol]:
        """Name -> protocol; its note includes the leaks between its parts (shared groups, videos or contents)."""
        return {name: self._protocol(name, rule) for name, rule in self._rules.items()}

    def _protocol(self, name: str, rule: Rule) -> Protocol:
        leaks = note_of({fold: self.parts(name, fold) for fold in rule.folds})
        made_of = self.cache.lists.get(EXTRACTED, b"").decode()
        note = "; ".join(text for text in (rule.note, made_of, leaks) if text)
        return Protocol(name, rule.split, rule.selection, rule.metric, rule.folds, note)

    def parts(self, protocol: str, fold: int) -> Parts:
        """The clips of each part, for the audit; UserError for an unknown protocol or fold."""
        index = self.cache.index
        part = self._part(protocol, fold)
        known = (index.ids, index.groups, index.contents, index.labels, self.group_name)
        of_clips = Parts(part, *known, further=self.further(self.cache))
        return with_crossed(of_clips, self.crossed(part))

    def _part(self, protocol: str, fold: int) -> Array:
        rules = self._rules
        if protocol not in rules:
            raise unknown(f"protocol of {self.name}", protocol, rules)
        if fold not in rules[protocol].folds:
            raise UserError(f"fold {fold}: protocol {protocol} of {self.name} has folds {list(rules[protocol].folds)}.")
        return rules[protocol].part(fold)

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """Part -> targets (n,), int64 or float64, from the index; no recording is read."""
        part, labels = self._part(protocol, fold), self.cache.index.labels
        extra = self.crossed(part)
        return {name: extra.get(name, Crossed()).labels(labels[part == name]) for name in ("train", "val", "test")}

    def fingerprint(self) -> str:
        """A digest of the cached arrays, labels, groups and split lists."""
        return self.cache.fingerprint

    def require(self, protocol: str, fold: int) -> None:
        """UserError if a part has no prepared clip."""
        remedy = f"Prepare more clips, or complete split lists; `mcr-bench data verify {self.name}` counts them."
        require_parts(self._part(protocol, fold), f"{self.name}, protocol {protocol}, fold {fold}", remedy)

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The three parts, with samples that stay on disk."""
        self.require(protocol, fold)
        part = self._part(protocol, fold)
        offered = self.modalities()
        for m in modalities:
            if m not in offered:
                raise unknown(f"modality of {self.name}", m, offered)
        rows = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
        views = {m: self.view(m, self.cache, rows["train"]) for m in offered if m in modalities}
        extra = self.crossed(part)
        train, val, test = (self._split(at, views, extra.get(name, Crossed())) for name, at in rows.items())
        return Splits(train, val, test)

    def _split(self, at: Array, views: Mapping[str, View], extra: Crossed) -> Split:
        cache, index = self.cache, self.cache.index
        kind = np.int64 if self.class_names else np.float64
        target, scores = target_of(extra.labels(index.labels[at]).astype(kind))
        own = {m: y for m, y in self.own_labels(cache).items() if m in views}
        ids, groups = index_of(index, at, extra)
        return Split(
            {m: CachedRows(cache, view, extra.rows(m, at)) for m, view in views.items()},
            target,
            ids,
            groups,
            {m: torch.from_numpy(cache.lengths(v.field)[extra.rows(m, at)]) for m, v in views.items() if v.padded},
            scores,
            own={m: Truth(*target_of(y[extra.rows(m, at)].astype(kind))) for m, y in own.items()},
        )

    def prepare(self, request: Preparation) -> str:
        """Prepare the cache of the present recipe in parallel; may be stopped and resumed; returns a report."""
        from mcr_bench.datasets.cache.made import without_parts
        from mcr_bench.datasets.cache.prepare import prepare_clips, report_of

        recipe = self.recipe()
        with reading(request.source):
            scan = self._scanned(request)
        scan.problems += without_entries(scan.lists)
        self._tell_size(recipe, len(scan.clips), request)
        made = prepare_clips(self.name, recipe, scan, request, self.folder)
        self._forget()
        parts = {(name, fold): self._part(name, fold) for name, rule in self._rules.items() for fold in rule.folds}
        return "\n".join([report_of(made, self.folder), *without_parts(parts)])

    def _tell_size(self, recipe: Recipe, clips: int, request: Preparation) -> None:
        """Tell how much space a large cache needs and how much is free, before anything is decoded."""
        if (needed := clips * recipe.row_bytes) < LARGE or self.folder.is_dir():
            return
        place = next(path for path in (self.location, *self.location.parents) if path.is_dir())
        free = in_words(shutil.disk_usage(place).free)
        request.tell(
            f"{self.name}: {clips:,} clips need {in_words(needed)} in '{self.folder}', where {free} are free. Stop at "
            "any time: the same command continues."
        )

    def _forget(self) -> None:
        """Open the cache anew when it is needed next."""
        for outdated in ("cache", "_rules"):
            self.__dict__.pop(outdated, None)

    def _scanned(self, request: Preparation) -> Scan:
        """The clips of the source. If they are in a folder of it, as archives add one, the error names that folder."""
        try:
            return self.scan(request.source, request.splits)
        except UserError as error:
            inside = sorted(request.source.iterdir()) if request.source.is_dir() else []
            folders = [path for path in inside if path.is_dir()]
            inner = next((path for path in folders[:MOST_FOLDERS] if self._holds_clips(path, request.splits)), None)
            if inner is None:
                raise
            raise UserError(f"{error}\n'{inner}' has this layout. Use --source '{inner}'.") from error

    def _holds_clips(self, source: Path, splits: Sequence[Path]) -> bool:
        try:
            return bool(self.scan(source, splits).clips)
        except (UserError, OSError):
            return False


def _pairs(entries: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Lists of two texts, as JSON holds them, as tuples."""
    return tuple((name, what) for name, what in entries)
