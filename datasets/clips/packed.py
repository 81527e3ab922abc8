"""Small datasets of clips, used in memory: a cache is prepared of the raw files, and packed into one .npz beside it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from mcr_bench.bench.audit.info import info_of
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.inventory import Inventory, parts_of
from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.datasets.base import Dataset, Facts, Preparation, Splits
from mcr_bench.datasets.cache.made import without_parts
from mcr_bench.datasets.cache.opened import Cache, cache_folder, open_cache
from mcr_bench.datasets.cache.packed import PackedManifest, manifest_file, pack, read_manifest
from mcr_bench.datasets.cache.prepare import NothingUsable, prepare_clips
from mcr_bench.datasets.cache.prepared import require_free, writing
from mcr_bench.datasets.cache.recipe import Recipe, Scan
from mcr_bench.datasets.contents.table import Table, require_parts
from mcr_bench.datasets.formats.npz import digest

__all__ = ["PackedDataset", "Packing"]


@dataclass(frozen=True)
class Packing:
    """What is prepared, and how it becomes arrays.

    scan: the clips of the raw folder.
    recipe: how a clip is decoded.
    arrays: the cache -> the content of the packed file, key -> array.
    words: the recipe in words; another text makes the packed file anew.
    """

    scan: Scan
    recipe: Recipe
    arrays: Callable[[Cache], Mapping[str, Array]]
    words: str


class PackedDataset(Dataset):
    """The base of adapters whose samples are read from one packed file.

    whole: the number of clips of the whole dataset.
    """

    whole: ClassVar[int]

    @abstractmethod
    def read(self) -> Table:
        """The samples of the packed file, which exists."""

    @abstractmethod
    def part(self, protocol: str, fold: int) -> Array:
        """(N,) text, the part of each sample: train, val or test; UserError for an unknown protocol or fold."""

    @abstractmethod
    def every_part(self) -> dict[tuple[str, int], Array]:
        """(protocol, fold) -> (N,) text as `part`, of a packed file that may lack what a run needs."""

    @abstractmethod
    def packing(self, source: Path) -> Packing:
        """What is in a raw folder; UserError with the layout if it is another one."""

    @property
    def file(self) -> Path:
        """The packed file."""
        return self.location / f"{self.name}.npz"

    @cached_property
    def table(self) -> Table:
        """The samples; UserError with instructions if nothing is prepared."""
        if not self.file.is_file():
            raise UserError(f"{self.name} is not prepared in '{self.location}'.\n{info_of(self)}")
        return self.read()

    @property
    def command(self) -> str:
        """The command that prepares the dataset."""
        return f"mcr-bench data prepare {self.name} --source DIR"

    def facts(self) -> Facts:
        """The prepared modalities; UserError with instructions if nothing is prepared."""
        return self.table.facts()

    def fingerprint(self) -> str:
        """SHA-256 of the prepared arrays."""
        self.facts()
        return digest(self.file)

    def require(self, protocol: str, fold: int) -> None:
        """UserError if a part has no prepared clip."""
        where = f"'{self.file}', protocol {protocol}, fold {fold}"
        require_parts(self.part(protocol, fold), where, f"Prepare more {self.group_name}s: `{self.command}`.")

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        """The standardised parts of the protocol and fold."""
        self.require(protocol, fold)
        return self.table.splits(self.part(protocol, fold), modalities)

    def labels(self, protocol: str, fold: int, seed: int) -> dict[str, Array]:
        """Part -> classes (n,) int64."""
        return self.table.labels(self.part(protocol, fold))

    def parts(self, protocol: str, fold: int) -> Parts:
        """The clips of each part, for the audit; a part may be empty."""
        splits = self.table.unscaled(self.part(protocol, fold), tuple(self.facts().modalities))
        return parts_of({"train": splits.train, "val": splits.val, "test": splits.test}, self.group_name)

    def inventory(self) -> Inventory:
        """The number of prepared clips beside that of the whole set, and the files that were left out."""
        left_out = tuple((name, reason) for name, reason in self.manifest()["left_out"])
        return Inventory(len(self.table.ids), ((self.whole, "the whole set"),), left_out)

    def damaged(self) -> Iterator[str]:
        """The ids of all clips if the file differs from what was written."""
        if self.manifest()["sha256"] != digest(self.file):
            yield from self.table.ids

    def manifest(self) -> PackedManifest:
        """The manifest of the packed file; UserError if it is missing or damaged."""
        try:
            return read_manifest(self.file)
        except (OSError, ValueError) as error:
            place = manifest_file(self.file)
            raise UserError(
                f"'{place}' is not a manifest of {self.name} ({error}). Run `{self.command}` again."
            ) from error

    def prepare(self, request: Preparation) -> str:
        """Prepare a cache of the raw files, and from it one .npz in `location`; reports what is left out."""
        if request.splits:
            raise UserError(
                f"{self.name} has no split lists, because its {self.group_name}s decide the parts. Leave out --splits."
            )
        packing = self.packing(request.source)
        with writing(self.location, request.source):
            require_free(files=(self.file, manifest_file(self.file)))
        folder = cache_folder(self.location, packing.recipe)
        try:
            made = prepare_clips(self.name, packing.recipe, packing.scan, request, folder)
        except NothingUsable as error:
            raise UserError(f"{error}\nNothing was written. Expected:\n{self.card.layout}") from error
        with writing(self.location, request.source):
            cache = open_cache(folder)
            current = pack(self.file, cache, packing.arrays(cache), packing.words) and made.up_to_date
        self.__dict__.pop("table", None)
        return "\n".join([*(["Up to date, nothing to do."] if current else []), *self._report()])

    def remarks(self) -> list[str]:
        """Lines of the report that this dataset adds."""
        return []

    def _report(self) -> list[str]:
        """The result of preparing, with the folds that have an empty part."""
        manifest = self.manifest()
        clips, modalities, left_out = manifest["clips"], manifest["modalities"], manifest["left_out"]
        lines = [f"{clips} of {self.whole} clips with {', '.join(modalities)} -> {self.file}"]
        lines += [*self.remarks(), *(f"left out: {name}: {reason}" for name, reason in left_out)]
        return [*lines, *without_parts(self.every_part())]
