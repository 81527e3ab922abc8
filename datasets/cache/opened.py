"""A prepared cache on disk: one memory-mapped array per field, an index of the clips that were kept, and a manifest.

manifest.json    recipe, counts, quarantine with reasons, and the size of every file here; written last
index.csv        id, group, label, slot, source, content of every clip kept, and its length in padded fields
sources.csv      path, size and SHA-256 of the raw files of every clip
FIELD.npy        (slots, ...): a row per clip found; the slot of a quarantined clip is a hole of zeros
lists/           the split lists that were found, as they were
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.datasets.cache.recipe import Recipe

MANIFEST = "manifest.json"
INDEX = "index.csv"
LENGTH = "length:"


class InManifest(TypedDict):
    """What a manifest says of the recipe of its cache. fields: name -> shape, dtype, and whether it is padded."""

    name: str
    digest: str
    settings: dict[str, object]
    fields: dict[str, tuple[list[int], str, bool]]


class Manifest(TypedDict):
    """manifest.json.

    labels: their dtype. lists, sizes, sha256: by file. quarantine, problems, findings, notes: pairs of a clip or file
    and what is said of it. The last three entries came with later versions.
    """

    dataset: str
    recipe: InManifest
    clips: dict[str, int]
    labels: str
    fingerprint: str
    lists: dict[str, str]
    sizes: dict[str, int]
    sha256: dict[str, str]
    quarantine: list[list[str]]
    problems: list[list[str]]
    findings: NotRequired[list[list[str]]]
    notes: NotRequired[list[list[str]]]
    libraries: NotRequired[list[str]]


@dataclass
class Index:
    """The kept clips in the order of the scan. contents: a hash of each one's cached rows; labels: (n,) int64 or
    float64.
    """

    ids: list[str]
    groups: list[str]
    contents: list[str]
    labels: Array


@dataclass
class Cache:
    """An open cache. rows: (n,) int64, the slot of each kept clip; sources: a hash of what each was made from.

    What `prepare` puts in its place later does not change what is open.
    """

    folder: Path
    manifest: Manifest
    index: Index
    rows: Array
    sources: list[str]
    lists: Mapping[str, bytes]
    arrays: Mapping[str, Array]
    steps: Mapping[str, Array]

    @property
    def fingerprint(self) -> str:
        """A digest of the arrays' content, ids, labels, groups and split lists, wherever they lie."""
        return str(self.manifest["fingerprint"])

    @property
    def findings(self) -> dict[str, tuple[str, ...]]:
        """Clip id -> what is odd about it, of the kept clips about which something is."""
        found: dict[str, tuple[str, ...]] = {}
        for clip, what in self.manifest.get("findings", ()):
            found[clip] = (*found.get(clip, ()), what)
        return found

    def array(self, field: str) -> Array:
        """(slots, *shape) of a field, memory-mapped and read-only; index it by `rows`."""
        return self.arrays[field]

    def lengths(self, field: str) -> Array:
        """(n,) int64: the real steps of each kept clip in a padded field."""
        return self.steps[field]

    def scalars(self, field: str) -> Array:
        """(n,) values of a field of shape ()."""
        return np.asarray(self.arrays[field][self.rows])

    def parts_of(self, part: Mapping[str, str]) -> Array:
        """(n,) part of each kept clip, of a table by clip id; '' for a clip that is in none."""
        return np.array([part.get(clip, "") for clip in self.index.ids])

    def absent(self, named: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Of the clips that lists name, those that are not here; without the lists that name none of these."""
        here = set(self.index.ids)
        found = {name: [clip for clip in clips if clip not in here] for name, clips in named.items()}
        return {name: clips for name, clips in found.items() if clips}

    def damaged(self) -> Iterator[str]:
        """The ids of clips whose cached rows are not what was written; reads every row once."""
        for at, (slot, content) in enumerate(zip(self.rows, self.index.contents, strict=True)):
            rows = {name: self.arrays[name][slot].tobytes() for name in self.arrays}
            if content_of(rows, {name: int(steps[at]) for name, steps in self.steps.items()}) != content:
                yield self.index.ids[at]


def cache_folder(location: Path, recipe: "Recipe") -> Path:
    """Where the cache of a recipe lies: different recipes are neighbours."""
    return location / f"{recipe.name}-{recipe.digest}"


def content_of(rows: Mapping[str, bytes], lengths: Mapping[str, int]) -> str:
    """SHA-256 of one clip's rows, padding included, and of their lengths."""
    found = hashlib.sha256()
    for name in sorted(rows):
        found.update(json.dumps([name, len(rows[name]), lengths.get(name)]).encode())
        found.update(rows[name])
    return found.hexdigest()


def open_cache(folder: Path) -> Cache:
    """The cache in `folder`; UserError that names the file where one is missing or not as the manifest says."""
    while True:
        before = _read(folder, MANIFEST)
        try:
            cache = cache_of(folder, before)
        except UserError:
            if _read(folder, MANIFEST) == before:
                raise
        else:
            if _read(folder, MANIFEST) == before:
                return cache
        # `prepare` has put another cache here meanwhile


def cache_of(folder: Path, text: bytes) -> Cache:
    """The cache in `folder` whose manifest reads `text`; UserError where a file of it is missing or damaged."""
    try:
        manifest: Manifest = json.loads(text)
        for name, size in manifest["sizes"].items():
            _require_size(folder, name, size)
        fields = manifest["recipe"]["fields"]
        table = _read_index(folder, manifest)
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in fields}
        lists = {name: _read_whole(folder, file, manifest) for name, file in manifest["lists"].items()}
        kind = {"int64": int, "float64": float}[manifest["labels"]]
        labels = np.array([kind(row["label"]) for row in table], manifest["labels"])
        steps = {name: _integers(table, LENGTH + name) for name, (_, _, padded) in fields.items() if padded}
        index = Index([r["id"] for r in table], [r["group"] for r in table], [r["content"] for r in table], labels)
        sources = [row["source"] for row in table]
        return Cache(folder, manifest, index, _integers(table, "slot"), sources, lists, arrays, steps)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise _broken(folder, f"'{folder}' is no cache of this version or is damaged ({error!r})") from error


def _integers(table: list[dict[str, str]], column: str) -> Array:
    return np.array([int(row[column]) for row in table], np.int64)


def _read_whole(folder: Path, name: str, manifest: Manifest) -> bytes:
    """A small file, held against its checksum: the index and the lists decide who is trained on."""
    content = _read(folder, name)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
        raise _broken(folder, f"'{folder / name}' is not the file that was written")
    return content


def _read_index(folder: Path, manifest: Manifest) -> list[dict[str, str]]:
    content = _read_whole(folder, INDEX, manifest)
    return list(csv.DictReader(io.StringIO(content.decode(errors="surrogateescape"), newline="")))


def _require_size(folder: Path, name: str, size: int) -> None:
    path = folder / name
    if not path.is_file():
        raise _broken(folder, f"'{path}' is missing")
    if path.stat().st_size != size:
        raise _broken(folder, f"'{path}' has {path.stat().st_size} bytes instead of {size}")


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise _broken(folder, f"'{folder / name}' cannot be read ({error.strerror})") from error


def _broken(folder: Path, what: str) -> UserError:
    return UserError(f"{what}. Run `mcr-bench data prepare` again (it mends what is damaged), or delete '{folder}'.")
