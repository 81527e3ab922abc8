"""Walk through an official folder, links to folders included: a part may lie on another disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walked(
    source: Path, onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folder, the names of its folders, which the caller may shorten, and of its files, as `os.walk` gives them.

    A folder that several links lead to is entered once, so that links in a circle end.
    """
    entered = set[tuple[int, int]]()
    _is_new(source, entered)
    for folder, inner, files in os.walk(source, onerror=onerror, followlinks=True):
        inner[:] = [name for name in sorted(inner) if _is_new(Path(folder, name), entered)]
        yield Path(folder), inner, files


def _is_new(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Whether it was not entered before; folders that cannot be asked are left to the walk, which names them."""
    try:
        stated = folder.stat()
    except OSError:
        return True
    before = len(entered)
    entered.add((stated.st_dev, stated.st_ino))
    return len(entered) > before
