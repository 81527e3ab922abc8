"""A database that cannot be used any more, as it is damaged or its disk fails: told in one sentence."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcr_bench.bench.core.faults.full_disk import chain, full_disk
from mcr_bench.bench.errors import Unavailable, UserError, quoted
from mcr_bench.bench.record.database.snapshot import is_busy, is_not_utf8

# Errors of exactly these types are of the file: "database disk image is malformed", "file is not a database", "disk I/O
# error", "no such table". Those derived from the first are of what was asked of it.
OF_THE_FILE = (sqlite3.DatabaseError, sqlite3.OperationalError)
CLOSED = ("SQLITE_READONLY", "SQLITE_CANTOPEN")  # and those that begin so
GO_ON = "and start the same command again: runs continue from their last checkpoint."
REPAIR = f"Bring the file back from a backup, or repair it (`sqlite3 FILE .recover`), {GO_ON}"
OPEN_IT = f"See who may write to the file and its folder, and how many files may be open (`ulimit -n`), {GO_ON}"


@contextmanager
def broken_told(file: Path) -> Iterator[None]:
    """Inside the block, an error that says that the database in `file` is broken becomes Unavailable.

    Those of a full disk and of a lock pass, as others tell them.
    """
    try:
        yield
    except UserError:  # its words say all
        raise
    except Exception as error:
        cause = next((one for one in chain(error) if type(one) in OF_THE_FILE), None)
        if cause is None or is_busy(cause) or full_disk(error) or is_not_utf8(cause):
            raise
        remedy = OPEN_IT if getattr(cause, "sqlite_errorname", "").startswith(CLOSED) else REPAIR
        raise Unavailable(f"the record at '{file}' cannot be written: {quoted(cause)}. {remedy}") from error
