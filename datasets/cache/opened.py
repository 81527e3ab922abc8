"""A prepared cache on disk: one memory-mapped array per field, an index of the clips that were kept, and a manifest.

manifest.json    recipe, counts, quarantine with reasons, and the size of every file of the cache; written last
index.csv        id, group, label, slot, source, content of each kept clip, and its length in padded fields
sources.csv      path, size and SHA-256 of the raw files of each clip
FIELD.npy        (slots, ...): one row for each clip of the raw folder; the row of a quarantined clip is zeros
lists/           copies of the split lists
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
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.datasets.cache.recipe import Recipe

MANIFEST = "manifest.json"
INDEX = "index.csv"
LENGTH = "length:"


class RecipeEntry(TypedDict):
    """The recipe in a manifest.

    name: its name.
    digest: its eight hexadecimal digits.
    settings: name -> JSON value.
    fields: name -> shape of a row, dtype, and whether rows are padded.
    """

    name: str
    digest: str
    settings: dict[str, object]
    fields: dict[str, tuple[list[int], str, bool]]


class Manifest(TypedDict):
    """The content of manifest.json.

    format: the version of the format.
    dataset: the name of the dataset.
    recipe: how the clips were decoded.
    libraries: the versions of the libraries that decoded them.
    clips: found, kept, quarantined, left_out -> number of clips.
    labels: int64 or float64.
    fingerprint: a digest of the content.
    lists: name of each split list -> its file in the cache.
    sizes: file -> its size in bytes.
    sha256: small file -> its SHA-256.
    quarantine: clip and reason of each clip that could not be used.
    problems: clip or file, and reason, of what was left out before decoding.
    findings: clip, and what looks wrong about it, of kept clips.
    notes: folder or list, and remark.
    """

    format: int
    dataset: str
    recipe: RecipeEntry
    libraries: NotRequired[list[str]]
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


@dataclass
class Index:
    """The n kept clips in the order of the raw folder's scan.

    ids: their n ids.
    groups: their n groups.
    contents: n hashes, each of the cached rows of a clip.
    labels: (n,) class indices (int64) or scores (float64).
    """

    ids: list[str]
    groups: list[str]
    contents: list[str]
    labels: Array


@dataclass
class Cache:
    """An open cache with n kept clips. It does not change if `prepare` later replaces the files.

    folder: the folder of the cache.
    manifest: the content of manifest.json.
    index: the kept clips.
    rows: (n,) int64, the slot of each kept clip in the arrays.
    sources: n hashes, each of the files from which a clip was decoded.
    lists: name -> content of the split lists.
    arrays: field -> (slots, ...), memory-mapped.
    steps: padded field -> (n,) int64, the number of real steps of each kept clip.
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
        """A digest of the content of the arrays, the ids, labels, groups and split lists, wherever the files are."""
        return str(self.manifest["fingerprint"])

    @property
    def findings(self) -> dict[str, tuple[str, ...]]:
        """Id -> what looks wrong about the clip, for the kept clips with such findings."""
        by_clip: dict[str, tuple[str, ...]] = {}
        for clip, what in self.manifest.get("findings", ()):
            by_clip[clip] = (*by_clip.get(clip, ()), what)
        return by_clip

    def array(self, field: str) -> Array:
        """A field as (slots, *shape), memory-mapped and read-only; `rows` holds the slots of the kept clips."""
        return self.arrays[field]

    def lengths(self, field: str) -> Array:
        """(n,) int64: the number of real steps of each kept clip in a padded field."""
        return self.steps[field]

    def scalars(self, field: str) -> Array:
        """(n,): the value of each kept clip in a field of shape ()."""
        return np.asarray(self.arrays[field][self.rows])

    def parts_of(self, part: Mapping[str, str]) -> Array:
        """(n,) text, the part of each kept clip, from clip id -> part; '' for a clip that is missing there."""
        return np.array([part.get(clip, "") for clip in self.index.ids])

    def absent(self, listed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """List -> those of its clips that are not in the cache, without the lists that are complete.

        listed: list -> its clips.
        """
        kept = set(self.index.ids)
        missing = {name: [clip for clip in clips if clip not in kept] for name, clips in listed.items()}
        return {name: clips for name, clips in missing.items() if clips}

    def damaged(self) -> Iterator[str]:
        """The ids of clips with cached rows that differ from what was written; reads every row once."""
        for at, (slot, content) in enumerate(zip(self.rows, self.index.contents, strict=True)):
            rows = {name: self.arrays[name][slot].tobytes() for name in self.arrays}
            if content_of(rows, {name: int(steps[at]) for name, steps in self.steps.items()}) != content:
                yield self.index.ids[at]


def cache_folder(location: Path, recipe: "Recipe") -> Path:
    """The folder of the cache of a recipe in the prepared folder of a dataset."""
    return location / f"{recipe.name}-{recipe.digest}"


def content_of(rows: Mapping[str, bytes], lengths: Mapping[str, int]) -> str:
    """SHA-256 of the rows of one clip, including padding, and of their lengths.

    rows: field -> the bytes of a row. lengths: padded field -> the number of real steps.
    """
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update(json.dumps([name, len(rows[name]), lengths.get(name)]).encode())
        digest.update(rows[name])
    return digest.hexdigest()


def open_cache(folder: Path) -> Cache:
    """The cache in `folder`; UserError that names the file if one is missing or differs from the manifest."""
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
        # `prepare` has replaced the cache in the meantime


def cache_of(folder: Path, text: bytes) -> Cache:
    """The cache in `folder` whose manifest reads `text`; UserError where a file of it is missing or damaged."""
    try:
        manifest: Manifest = json_of(text)
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
    except (KeyError, ValueError, AttributeError, TypeError, OverflowError, csv.Error) as error:
        raise _broken(folder, f"'{folder}' is damaged, or not a cache of this version ({error!r})") from error


def _integers(table: list[dict[str, str]], column: str) -> Array:
    """A column of the index as (n,) int64."""
    return np.array([int(row[column]) for row in table], np.int64)


def _read_whole(folder: Path, name: str, manifest: Manifest) -> bytes:
    """A small file, compared with its checksum, because the index and the lists decide what is trained on."""
    content = _read(folder, name)
    if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
        raise _broken(folder, f"'{folder / name}' differs from the file that was written")
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
    return UserError(f"{what}. Run `mcr-bench data prepare` again, which repairs it, or delete '{folder}'.")
