"""Reading .npz files of the user: pickles never run, and every error names the file, the key and the remedy."""

import hashlib
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.formats.foreign import conversion_of_content, of_objects
from mcr_bench.datasets.formats.npz_members import LongHeader, NotAnArray, OfObjects, content, stated
from mcr_bench.datasets.formats.text_mode import SAMPLE, changed_as_text

T = TypeVar("T")
POINTER = b"version https://git-lfs"


def is_pointer(path: Path) -> bool:
    """Whether a file is a git-LFS pointer instead of the content."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def pointer_error(path: Path, what: str = "data") -> UserError:
    """The error for a git-LFS pointer; what: what the file should be, such as list."""
    return UserError(f"'{path}' is a git-LFS pointer, not the {what}. Run `git lfs pull` where the file comes from.")


def digest(path: Path) -> str:
    """SHA-256 of the bytes of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, Array]:
    """Key -> array of any shape and dtype, for every array of an .npz; never unpickles.

    UserError that names the file, the key if one array is the cause, and the remedy. Nothing is read of a file whose
    arrays need more memory than a file may take (`bench/core/inputs/sizes.py`).
    """
    if not path.is_file():
        raise UserError(
            f"'{path}' {'is not a file' if path.exists() else 'does not exist'}. Give the path of an .npz file."
        )
    try:
        if is_pointer(path):
            raise pointer_error(path)
        if not zipfile.is_zipfile(path):
            raise _not_an_npz(path)
        with zipfile.ZipFile(path) as packed:
            if description := conversion_of_content(path, tuple(packed.namelist())):
                raise UserError(f"'{path}' is not an .npz. {description}")
            members = _members(path, packed)
            headers = [_checked(path, key, partial(stated, packed, one)) for key, one in members.items()]
            check_size(path, sum(header.memory for header in headers), packed=True)
            return {key: _checked(path, key, partial(content, packed, one)) for key, one in members.items()}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"'{path}' cannot be read: {error}. Check its permissions, or copy it again.") from error


def _not_an_npz(path: Path) -> UserError:
    """The error for a file that is not a zip file; it says what the file is if its first bytes show it."""
    if not path.stat().st_size:
        return UserError(f"'{path}' is empty. Copy it again, or use numpy.savez.")
    if description := conversion_of_content(path):
        return UserError(f"'{path}' is not an .npz. {description}")
    if changed := _changed(path):
        return UserError(f"'{path}' is damaged: {changed}")
    return UserError(
        f"'{path}' is not a complete .npz (truncated, or another format). Copy it again, or use numpy.savez."
    )


def _changed(path: Path) -> str:
    """A sentence if the first megabyte shows that the file was copied or saved as if it were text; else ''."""
    with path.open("rb") as file:
        return changed_as_text(memoryview(file.read(SAMPLE)))


def _members(path: Path, packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Key -> member of the zip file; UserError for two of one name, of which readers choose differently."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in packed.infolist():
        key = member.filename.removesuffix(".npy")
        if key in members:
            raise UserError(f"'{path}': '{key}' is in the file twice. Save the file with numpy.savez.")
        members[key] = member
    return members


def _checked(path: Path, key: str, read: Callable[[], T]) -> T:
    """What `read` returns; its errors become a UserError that names the file, the key and the remedy."""
    try:
        return read()
    except NotAnArray as error:
        raise UserError(f"'{path}': '{key}' is not an array. Save the file with numpy.savez.") from error
    except LongHeader as error:
        raise UserError(f"'{path}': '{key}' {error}.") from error
    except OfObjects as error:
        raise UserError(
            f"'{path}': '{key}' is an array of Python objects, which is never unpickled. {of_objects(key)}"
        ) from error
    except MemoryError as error:
        raise UserError(f"'{path}': there is too little memory for '{key}'. Close other programs.") from error
    except Exception as error:  # damaged members raise errors of a dozen types
        changed, words = _changed(path) or "Copy it again.", quoted(error)
        raise UserError(f"'{path}': '{key}' cannot be read ({words}): the file is damaged. {changed}") from error
