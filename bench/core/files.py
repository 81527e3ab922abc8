"""Files that are whole or missing, whatever stops the program that writes them: the one place that writes so."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

# How a name ends under which a file is being written. A kill leaves it behind; nobody reads it.
PARTIAL = ".partial"


def write_whole(path: Path, content: str | bytes) -> None:
    """`path` with this content (text as UTF-8), and its folder."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An open file whose content becomes `path` when the block ends; its folder is made.

    At every moment `path` holds the old content or the new one, on the disk too: the content is written out before the
    name leads to it. Where the block or the disk fails, the old file stays and nothing is left beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move_whole(made: Path, path: Path) -> None:
    """A file or folder that is whole, made by somebody else beside `path`, becomes `path`.

    A file replaces the one that was there; a folder needs a free place.
    """
    if made.is_file():
        _sync(made)
    os.replace(made, path)
    sync_folder(path.parent)


def remove_partials(folder: Path, stem: str) -> None:
    """Remove what killed writers of files named `stem` have left in `folder`."""
    for partial in folder.glob(f"*{escape(stem)}.*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
