"""A disk without free space: told from other errors, and told in one sentence."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mcr_bench.bench.errors import Unavailable, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, the largest file allowed
# What SQLite calls it: a database that cannot grow, its index of changes that cannot, and, where the system gives
# another reason than a full disk (a quota, the largest size of a file, a broken disk), any write that fails.
GROWS, WRITES = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"), ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE")
REMEDY = (
    "Free space there and start the same command again: what is finished is kept, and runs continue from their last "
    "checkpoint."
)


class FullDisk(Unavailable):
    """Something could not be written for lack of space; the same command goes on when there is some."""


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Inside the block, an error that a full disk has caused becomes a `FullDisk` with one sentence.

    Of a `UserError` only what it was raised from counts: one that was met and dealt with before is not its cause.
    """
    try:
        yield
    except FullDisk:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        nameless = str(error) if isinstance(error, UserError) else ""  # it knows which file it was
        if cause is not None and (told := full_disk(cause, nameless)):
            raise FullDisk(told) from error
        raise


def full_disk(error: BaseException, nameless: str = "") -> str | None:
    """What to tell of an error that a full disk has caused, however often it was wrapped; None for all others.

    nameless: what to tell instead where the error does not name the file.

    >>> full_disk(OSError(errno.ENOSPC, "No space left on device", "/home/a/weights.pt"))[:63]
    "the disk is full: '/home/a/weights.pt' could not be written (No"
    """
    for one in chain(error):
        if isinstance(one, OSError) and one.errno in FULL:
            if nameless and not one.filename:
                return nameless
            where = f"'{one.filename}'" if one.filename else "a file"
            why = one.strerror or errno.errorcode[one.errno]
            return f"the disk is full: {where} could not be written ({why}). {REMEDY}"
        code = getattr(one, "sqlite_errorname", "")  # errors that SQLite itself has not raised lack it
        if isinstance(one, sqlite3.Error) and code in (*GROWS, *WRITES):
            what = "the disk is full" if code in GROWS else "the disk is full or damaged"
            return f"{what}: the record could not be written ({one}). {REMEDY}"
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from, or while handling which it was raised; each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [before for before in (one.__context__, one.__cause__) if before is not None]
