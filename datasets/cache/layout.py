"""The folders of a cache while it is prepared, and how a new cache replaces the old one.

FOLDER         the finished cache; it is kept until the new one is complete
FOLDER.part    the new cache: with a journal while rows are written, with a manifest when it is complete
FOLDER.stale   a cache that was begun for other clips; its rows are used
FOLDER.old     the old cache, for the moment between two renames
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from mcr_bench.bench.core.files import move_whole, write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.journal import JOURNAL
from mcr_bench.datasets.cache.opened import MANIFEST
from mcr_bench.datasets.cache.recipe import Recipe


def part(folder: Path) -> Path:
    """The folder of the new cache."""
    return folder.with_name(f"{folder.name}.part")


def stale(folder: Path) -> Path:
    """The folder of a cache that was begun for other clips."""
    return folder.with_name(f"{folder.name}.stale")


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def recover(folder: Path) -> None:
    """Complete the last steps of an earlier `prepare` that was killed during them."""
    making, old = part(folder), _old(folder)
    if (making / MANIFEST).is_file() and not (making / JOURNAL).is_file():
        put_in_place(folder)
    elif making.is_dir() and not (making / JOURNAL).is_file():
        shutil.rmtree(making)
    if old.is_dir() and not folder.is_dir():
        move_whole(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def all_of(folder: Path) -> tuple[Path, ...]:
    """All of the folders above; each is a folder or missing."""
    return folder, part(folder), stale(folder), _old(folder)


def is_begun(folder: Path) -> bool:
    """Whether an earlier `prepare` has left rows that can be used."""
    return (part(folder) / JOURNAL).is_file() or stale(folder).is_dir()


def discard(making: Path) -> None:
    """Delete the new cache, the manifest first, so that what remains is never mistaken for a complete cache."""
    (making / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(making, ignore_errors=True)


def put_in_place(folder: Path) -> None:
    """Make the complete new cache the finished one."""
    (part(folder) / JOURNAL).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(_old(folder), ignore_errors=True)
        move_whole(folder, _old(folder))
    move_whole(part(folder), folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def put_aside(making: Path) -> None:
    """Keep a cache that was begun for other clips, so that its rows can be used."""
    aside = making.with_suffix(".stale")
    shutil.rmtree(aside, ignore_errors=True)
    move_whole(making, aside)


def tidy(folder: Path) -> None:
    """Delete what is not needed beside a finished cache."""
    shutil.rmtree(stale(folder), ignore_errors=True)


def write(making: Path, files: Mapping[str, bytes]) -> None:
    """Write the small files, each atomically, and the manifest last; delete all other files.

    files: name -> content.
    """
    for name, content in files.items():
        write_whole(making / name, content)
    _remove_others(making, {*files, *(f"{path.name}" for path in making.glob("*.npy")), JOURNAL})


def holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the small files of a cache have exactly this content. files: name -> content."""
    return all((folder / name).is_file() and (folder / name).read_bytes() == text for name, text in files.items())


def link_arrays(folder: Path, making: Path, fields: Iterable[str]) -> None:
    """Link the arrays of a finished cache into a new one that differs only in its small files.

    fields: the names of the arrays. Links are safe, because finished arrays never change.
    """
    making.mkdir()
    for field in fields:
        try:
            os.link(folder / f"{field}.npy", making / f"{field}.npy")
        except OSError:  # a file system without links
            shutil.copyfile(folder / f"{field}.npy", making / f"{field}.npy")


def require_room(parent: Path, making: Path, recipe: Recipe, clips: int) -> None:
    """UserError if the arrays for this number of clips do not fit on the disk, before anything is decoded."""
    needed = clips * recipe.row_bytes - on_disk(making)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"'{parent}' has {free / 2**20:,.1f} MiB free, but the cache of {clips} clips needs {needed / 2**20:,.1f} "
            "MiB more. Free disk space, or give another --data-root."
        )


def on_disk(folder: Path) -> int:
    """The bytes that the files of a folder need on the disk; rows that were never written need none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _remove_others(making: Path, names: set[str]) -> None:
    for path in making.rglob("*"):
        if path.is_file() and path.relative_to(making).as_posix() not in names:
            path.unlink()
