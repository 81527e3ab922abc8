"""Files that are opened once per process, because a worker reads one of their samples at a time."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

from mcr_bench.bench.errors import UserError

T = TypeVar("T")
MOST = 8  # files whose content is kept


def opened_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """`read` with a memory: its result is kept until the size or the time of the file changes.

    UserError if the file is missing or cannot be read.
    """
    kept: dict[Path, tuple[tuple[int, int], T]] = {}

    @wraps(read)
    def read_once(path: Path) -> T:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(f"'{path}' cannot be read ({error.strerror}). Copy the file itself there again.") from error
        state = (stat.st_size, stat.st_mtime_ns)
        if path not in kept or kept[path][0] != state:
            while len(kept) >= MOST:
                kept.pop(next(iter(kept)))
            kept[path] = (state, read(path))
        return kept[path][1]

    return read_once
