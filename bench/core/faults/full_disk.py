"""A disk without free space: told from other errors, and told in one sentence."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from mcr_bench.bench.errors import Unavailable, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, the largest file allowed
LOST = "database or disk is full"  # SQLite's words, which libraries pass on in errors of their own
REMEDY = (
    "Free space there and start the same command again: what is finished is kept, and runs continue from their last "
    "checkpoint."
)


class FullDisk(Unavailable):
    """Something could not be written for lack of space; the same command goes on when there is some."""


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Inside the block, an error that a full disk has caused becomes a `FullDisk` with one sentence."""
    try:
        yield
    except UserError:  # its words say all
        raise
    except Exception as error:
        if told := full_disk(error):
            raise FullDisk(told) from error
        raise


def full_disk(error: BaseException) -> str | None:
    """What to tell of an error that a full disk has caused, however often it was wrapped; None for all others.

    >>> full_disk(OSError(errno.ENOSPC, "No space left on device", "/home/a/weights.pt"))[:63]
    "the disk is full: '/home/a/weights.pt' could not be written (No"
    """
    for one in chain(error):
        if isinstance(one, OSError) and one.errno in FULL:
            where = f"'{one.filename}'" if one.filename else "a file"
            why = one.strerror or errno.errorcode[one.errno]
            return f"the disk is full: {where} could not be written ({why}). {REMEDY}"
        if isinstance(one, sqlite3.OperationalError) and LOST in str(one):
            return f"the disk is full: the record could not be written ({LOST}). {REMEDY}"
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
