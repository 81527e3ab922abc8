"""Writing a prepared set: one .npz in array form and its manifest, atomically, one writer at a time."""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.files import whole_file, write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.npz import digest

MANIFEST = "manifest.json"
ELSEWHERE = "or give another --data-root."
IN_THE_WAY = f"Something else is in the way: move it, {ELSEWHERE}"
CLOSED = f"You may not write there: make it writable, {ELSEWHERE}"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"Free space, {ELSEWHERE}"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY), IN_THE_WAY),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), CLOSED),
}


@contextmanager
def writing(location: Path, source: Path) -> Iterator[None]:
    """The prepared folder, made and locked; UserError where it lies in the raw one, is in use or cannot be written,
    with the remedy that the cause has.
    """
    if location.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"'{location}' lies in the raw folder '{source}', which is only read. Give another --data-root."
        )
    require_free(folders=(*reversed(location.parents), location))
    try:
        location.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(location / ".lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise UserError(f"another `data prepare` is writing '{location}'. Wait until it has ended.") from error
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, f"Check the disk, {ELSEWHERE}")
        raise UserError(f"cannot write '{error.filename or location}' ({error.strerror or error}). {remedy}") from error


def require_free(folders: Iterable[Path] = (), files: Iterable[Path] = ()) -> None:
    """UserError that names what lies where one of these is to be written and is no folder, or no file."""
    for kind, paths, is_kind in (("folder", folders, os.path.isdir), ("file", files, os.path.isfile)):
        for path in paths:
            if os.path.lexists(path) and not is_kind(path):
                raise UserError(f"'{path}' is in the way: it is no {kind}. Move it, {ELSEWHERE}")


def is_current(file: Path, recipe: str, sources: Mapping[str, str]) -> bool:
    """Whether `file` was made whole, by this recipe, from exactly these files (name -> checksum)."""
    try:
        manifest = read_manifest(file)
    except (OSError, ValueError):
        return False
    stated = (manifest.get("recipe"), manifest.get("sources"), manifest.get("sha256"))
    return file.is_file() and stated == (recipe, dict(sources), digest(file))


def read_manifest(file: Path) -> dict[str, Any]:
    """The manifest beside a prepared file; OSError or ValueError where it is none."""
    content: dict[str, Any] = json.loads((file.parent / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not {"recipe", "sources", "sha256", "left_out"} <= content.keys():
        raise ValueError("entries are missing")
    return content


def write(file: Path, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
    """The arrays, then the manifest with their checksum; each appears whole or not at all."""
    with whole_file(file) as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]
    write_whole(file.parent / MANIFEST, json.dumps({**manifest, "sha256": digest(file)}, indent=1))
