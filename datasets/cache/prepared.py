"""Writing a prepared set: one .npz in array form and its manifest, atomically, one writer at a time."""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.npz import digest

MANIFEST = "manifest.json"
ELSEWHERE = "or give another --data-root."
IN_THE_WAY = f"Another file or folder is in the way: move it, {ELSEWHERE}"
CLOSED = f"Permission to write is missing: make it writable, {ELSEWHERE}"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"Free disk space, {ELSEWHERE}"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY), IN_THE_WAY),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), CLOSED),
}


@contextmanager
def writing(location: Path, source: Path) -> Iterator[None]:
    """Makes and locks the prepared folder for the time inside.

    UserError with a remedy if the folder is inside the raw folder, is in use, or cannot be written.
    """
    if location.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"'{location}' is inside the raw folder '{source}', which is only read. Give another --data-root."
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
    """UserError if one of the paths that will be written exists and is not a folder, or not a file."""
    for kind, paths, is_kind in (("folder", folders, os.path.isdir), ("file", files, os.path.isfile)):
        for path in paths:
            if os.path.lexists(path) and not is_kind(path):
                raise UserError(f"'{path}' is in the way: it is not a {kind}. Move it, {ELSEWHERE}")


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
    _replace(file, lambda out: np.savez(out, **arrays))  # type: ignore[arg-type]
    text = json.dumps({**manifest, "sha256": digest(file)}, indent=1)
    _replace(file.parent / MANIFEST, lambda out: out.write(text.encode()))


def _replace(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as out:
            fill(out)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
