"""Write files so that they are complete or missing, even if the program is stopped while it writes them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

# How a name ends under which a file is being written. A kill leaves it behind; nobody reads it.
PARTIAL = ".partial"
LINKS = 40  # that a path may lead through, as in Linux


def write_whole(path: Path, content: str | bytes) -> None:
    """Write this content (text as UTF-8) to `path`, and make its folder."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """An open file whose content becomes that of `path` when the block ends; the folder of `path` is made.

    At every moment `path` has either the old or the new content, on the disk too, as the content is on the disk before
    the file is renamed. If the block or the disk fails, the old file remains, and no other file is left. What is not a
    file at all, a pipe or a device such as /dev/stdout, is written to as it stands: another file in its place would
    break it for every program.
    """
    if not path.name:  # of the present folder, `.`, and of the root
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_stream(path):
        with _named(path), path.open("ab") as file:  # a file that a shell has opened for stdout may hold something
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with _named(path), partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Inside the block, an error of the system gets the name of the file, which a failed write does not know."""
    try:
        yield
    except BaseException as error:
        for one in (error, error.__context__):  # torch raises errors of its own while handling the system's
            if isinstance(one, OSError) and one.errno is not None and one.filename is None:
                one.filename = str(path)
        raise


def _is_stream(path: Path) -> bool:
    """Whether a path leads to a pipe or a device, or through /proc to what this process has open, as /dev/stdout does.

    Where stdout is redirected to a file, that is a file, too, but the name is not its own.
    """
    place = Path(os.path.abspath(path))
    for _ in range(LINKS):
        if place.is_relative_to("/proc") and place.exists():
            return True
        if not place.is_symlink():
            break
        place = Path(os.path.abspath(place.parent / os.readlink(place)))
    return place.exists() and not place.is_file() and not place.is_dir()


def may_write(path: Path) -> bool:
    """Whether a file can be changed, or files be made in a folder, which itself is made if it is missing."""
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
    effective = os.access in os.supports_effective_ids
    return os.access(there, os.W_OK | (os.X_OK if os.path.isdir(there) else 0), effective_ids=effective)


def move_whole(made: Path, path: Path) -> None:
    """Rename a complete file or folder in the same folder to `path`.

    A file replaces an existing one; a folder must not exist at `path` before.
    """
    if made.is_file():
        _sync(made)
    os.replace(made, path)
    sync_folder(path.parent)


def remove_partials(folder: Path, stem: str) -> None:
    """Remove the partial files that killed writers of files named `stem` have left in `folder`."""
    for partial in folder.glob(f"*{escape(stem)}.*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, if the file system can do this."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
