"""A small set in one .npz, in array form, made of its cache: such a set lives in memory, not on disk.

Beside the file stands `manifest.json`: what was left out and why, of which cache it was made, and its checksum.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file, write_whole
from mcr_bench.datasets.cache.opened import MANIFEST, Cache
from mcr_bench.datasets.formats.npz import digest

STATED = {"recipe", "sha256", "left_out"}


def manifest_file(file: Path) -> Path:
    """The manifest of a packed file."""
    return file.parent / MANIFEST


def read_manifest(file: Path) -> dict[str, Any]:
    """The manifest beside a packed file; OSError or ValueError where there is none."""
    content: dict[str, Any] = json.loads(manifest_file(file).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not content.keys() >= STATED:
        raise ValueError("entries are missing")
    return content


def pack(file: Path, cache: Cache, arrays: Mapping[str, Array], recipe: str) -> bool:
    """Bring `file` up to date with a cache; whether there was nothing to do.

    arrays: what the file is to hold. recipe: how the rows of the cache were made, in words. First the arrays appear,
    then the manifest with their checksum, each whole.
    """
    manifest = {
        "recipe": recipe,
        "clips": len(cache.index.ids),
        "modalities": list(cache.arrays),
        "left_out": left_out(cache),
        "cache": cache.fingerprint,
    }
    if is_packed(file, manifest):
        return True
    with whole_file(file) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
    write_whole(manifest_file(file), json.dumps({**manifest, "sha256": digest(file)}, indent=1))
    return False


def is_packed(file: Path, manifest: Mapping[str, object]) -> bool:
    """Whether `file` is whole and its manifest states exactly this."""
    try:
        return read_manifest(file) == {**manifest, "sha256": digest(file)}
    except (OSError, ValueError):
        return False


def left_out(cache: Cache) -> list[list[str]]:
    """[file or clip, reason] of all that could not be used: what the scan left out, then the quarantine."""
    problems = (*cache.manifest["problems"], *cache.manifest["quarantine"])
    return [_of_its_file(what, reason) for what, reason in problems]


def _of_its_file(clip: str, reason: str) -> list[str]:
    """A reason that begins with the name of a file is about that file rather than about its clip."""
    file, colon, rest = reason.partition(": ")
    return [file, rest] if colon and "/" in file and " " not in file else [clip, reason]
