"""The folder in which a dataset is prepared: made, locked for one writer at a time, and free of other files."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mcr_bench.bench.errors import UserError

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
