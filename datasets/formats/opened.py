"""Files that are opened once per process, because a worker is asked for one of their samples at a time."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

from mcr_bench.bench.errors import UserError

T = TypeVar("T")
MOST = 8  # files that stay open


def opened_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """`read`, whose answer is kept until the file changes (by size and time); UserError where there is none."""
    known: dict[Path, tuple[tuple[int, int], T]] = {}

    @wraps(read)
    def ask(path: Path) -> T:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(f"'{path}' cannot be read ({error.strerror}). Copy the file itself there again.") from error
        state = (stat.st_size, stat.st_mtime_ns)
        if path not in known or known[path][0] != state:
            while len(known) >= MOST:
                known.pop(next(iter(known)))
            known[path] = (state, read(path))
        return known[path][1]

    return ask
