"""A small dataset as one .npz in array form, made from its cache, because such a dataset is used in memory.

In the folder of the file is `manifest.json`: what was left out with reasons, the cache of the file, and its checksum.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file, write_whole
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.datasets.cache.opened import MANIFEST, Cache
from mcr_bench.datasets.formats.npz import digest

STATED = {"recipe", "sha256", "left_out"}


class Contents(TypedDict):
    """What a packed file holds.

    recipe: how the rows of the cache were made, in words.
    clips: the number of clips.
    modalities: the names of the modalities.
    left_out: [file or clip, reason] of everything that could not be used.
    cache: the fingerprint of the cache.
    """

    recipe: str
    clips: int
    modalities: list[str]
    left_out: list[list[str]]
    cache: str


class PackedManifest(Contents):
    """The content of manifest.json.

    sha256: the checksum of the packed file.
    """

    sha256: str


def manifest_file(file: Path) -> Path:
    """The manifest of a packed file."""
    return file.parent / MANIFEST


def read_manifest(file: Path) -> PackedManifest:
    """The manifest of a packed file; OSError or ValueError if it is missing or damaged."""
    content: PackedManifest = json_of(manifest_file(file).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content.keys() >= STATED:
        raise ValueError("entries are missing")
    return content


def pack(file: Path, cache: Cache, arrays: Mapping[str, Array], recipe: str) -> bool:
    """Bring `file` up to date with a cache; returns whether it was up to date already.

    arrays: the content of the file, key -> array of any shape and dtype. recipe: how the rows of the cache were made,
    in words. The arrays are written first, then the manifest with their checksum, each atomically.
    """
    contents: Contents = {
        "recipe": recipe,
        "clips": len(cache.index.ids),
        "modalities": list(cache.arrays),
        "left_out": left_out(cache),
        "cache": cache.fingerprint,
    }
    if is_packed(file, contents):
        return True
    with whole_file(file) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
    write_whole(manifest_file(file), json.dumps({**contents, "sha256": digest(file)}, indent=1))
    return False


def is_packed(file: Path, contents: Contents) -> bool:
    """Whether `file` is complete and its manifest states exactly these contents."""
    try:
        return read_manifest(file) == {**contents, "sha256": digest(file)}
    except (OSError, ValueError):
        return False


def left_out(cache: Cache) -> list[list[str]]:
    """[file or clip, reason] of everything that could not be used: what the scan left out, then the quarantine."""
    problems = (*cache.manifest["problems"], *cache.manifest["quarantine"])
    return [_with_file(what, reason) for what, reason in problems]


def _with_file(clip: str, reason: str) -> list[str]:
    """The file and the rest of a reason that begins with the name of a file; else the clip and the reason."""
    file, colon, rest = reason.partition(": ")
    return [file, rest] if colon and "/" in file and " " not in file else [clip, reason]
