"""Reading .npz files that a user brings: pickles never run, and every failure names file, key and remedy."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.foreign import conversion_of_content, of_objects
from mcr_bench.datasets.formats.text_mode import SAMPLE, changed_as_text

POINTER = b"version https://git-lfs"


def is_pointer(path: Path) -> bool:
    """Whether the file is a git-LFS pointer, which stands where the content should be."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of an .npz, never unpickling; UserError that names the file, and the key where it is one array's."""
    if not path.is_file():
        raise UserError(
            f"'{path}' {'is not a file' if path.exists() else 'does not exist'}. Give the path of an .npz file."
        )
    try:
        if is_pointer(path):
            raise UserError(
                f"'{path}' is a git-LFS pointer, not the data. Run `git lfs pull` where the file comes from."
            )
        if not zipfile.is_zipfile(path):
            raise _not_an_npz(path)
        with np.load(path, allow_pickle=False) as file:
            if told := conversion_of_content(path, tuple(file.files)):
                raise UserError(f"'{path}' is not an .npz. {told}")
            return {key: _array(path, file, key) for key in file.files}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' cannot be read: {error}. Check its permissions, or copy it again.") from error


def _not_an_npz(path: Path) -> UserError:
    """What it is instead, where its first bytes tell."""
    if not path.stat().st_size:
        return UserError(f"'{path}' is empty. Copy it again, or use numpy.savez.")
    if told := conversion_of_content(path):
        return UserError(f"'{path}' is not an .npz. {told}")
    if changed := _changed(path):
        return UserError(f"'{path}' is damaged: {changed}")
    return UserError(f"'{path}' is no complete .npz (truncated, or another format). Copy it again, or use numpy.savez.")


def _changed(path: Path) -> str:
    """That the file was copied or saved as if it were text, where its first megabytes tell."""
    with path.open("rb") as file:
        return changed_as_text(memoryview(file.read(SAMPLE)))


def _array(path: Path, file: Mapping[str, Array], key: str) -> Array:
    try:
        array = file[key]
    except (ValueError, EOFError, OSError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        if "Object arrays" in str(error):
            raise UserError(
                f"'{path}': '{key}' is an object array, which is never unpickled. {of_objects(key)}"
            ) from error
        changed = _changed(path) or "Copy it again."
        raise UserError(f"'{path}': '{key}' cannot be read ({error}): the file is damaged. {changed}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"'{path}': '{key}' is no array. Save the file with numpy.savez.")
    return array
