"""A database that cannot be used any more, as it is damaged or its disk fails: told in one sentence."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcr_bench.bench.core.faults.full_disk import chain, full_disk
from mcr_bench.bench.errors import Unavailable, UserError, quoted
from mcr_bench.bench.record.database.snapshot import is_busy

# Of errors of exactly these types is the file: "database disk image is malformed", "file is not a database", "disk I/O
# error", "attempt to write a readonly database". Those derived from the first are of what was asked of it.
OF_THE_FILE = (sqlite3.DatabaseError, sqlite3.OperationalError)
REMEDY = (
    "Bring the file back from a backup, or repair it (`sqlite3 FILE .recover`), and start the same command again: runs "
    "continue from their last checkpoint."
)


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
        if cause is None or is_busy(cause) or full_disk(error):
            raise
        raise Unavailable(f"the record at '{file}' cannot be written: {quoted(cause)}. {REMEDY}") from error
