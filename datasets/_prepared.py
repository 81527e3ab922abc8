"""Writing a prepared set: one .npz in array form and its manifest, atomically, one writer at a time."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets._npz import Array, digest

MANIFEST = "manifest.json"


@contextmanager
def writing(location: Path, source: Path) -> Iterator[None]:
    """The prepared folder, made and locked; UserError where it lies in the raw one, is in use or cannot be written."""
    if location.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"'{location}' lies in the raw folder '{source}', which is only read. Give another --data-root."
        )
    try:
        location.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(location / ".lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise UserError(f"another `data prepare` is writing '{location}'. Wait until it has ended.") from error
    except OSError as error:
        raise UserError(f"cannot write '{location}': {error}. Free space, or give another --data-root.") from error


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
