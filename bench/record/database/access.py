"""Whether the database of a local record is there, and whether it may be written."""

from pathlib import Path

from mcr_bench.bench.core.files import may_write
from mcr_bench.bench.errors import UserError


def is_there(file: Path) -> bool:
    """Whether a record has been made; OSError where this cannot be known, as in a folder that may not be entered."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


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
