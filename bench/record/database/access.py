"""Whether the database of a local record is there, and whether it can be written."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mcr_bench.bench.core.files import may_write
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.record.database.snapshot import BUSY


def is_there(file: Path) -> bool:
    """Whether a record has been made; OSError where this cannot be known, as in a folder that may not be entered."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def require_file(file: Path) -> None:
    """UserError if the database is missing, as SQLite would make an empty one."""
    if not file.exists():
        raise UserError(
            f"the record at '{file}' is missing: it was moved or deleted while this command wrote to it. Start the "
            "command again with MCR_BENCH_HOME at its new place. Runs that are finished there are not trained again."
        )


def require_free(file: Path) -> None:
    """sqlite3.OperationalError where another program has locked the database: MLflow itself waits 20 s, in silence."""
    with closing(sqlite3.connect(file, timeout=BUSY, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def require_writable(*paths: Path) -> None:
    """Make these folders, the first one being the record's; UserError where one, or a file, may not be written."""
    home = paths[0]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the folder of the record, '{home}', cannot be made: {error}. "
            "Set MCR_BENCH_HOME to another folder, or work in a folder that you may write to."
        ) from error
    for path in paths:
        if not may_write(path):
            raise UserError(
                f"the record in '{home}' may only be read, as '{path}' is not writable. The commands that read it "
                "work. Set MCR_BENCH_HOME to another folder, or work on a copy of this one."
            )
