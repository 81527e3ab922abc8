"""The place that a set is prepared in: made, locked for one writer at a time, and free of what is in the way."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mcr_bench.bench.errors import UserError

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
