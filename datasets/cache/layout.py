"""Where a cache lies while it is made, and how a whole one takes the place of another.

FOLDER         the finished cache; it is kept until the new one is whole
FOLDER.part    the one in the making: with a journal while rows are written, with a manifest once it is whole
FOLDER.stale   one that was begun for other clips: its rows are taken over
FOLDER.old     the one that was replaced, for the moment between two renames
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.files import move_whole, write_whole
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.journal import JOURNAL
from mcr_bench.datasets.cache.opened import MANIFEST
from mcr_bench.datasets.cache.recipe import Recipe


def part(folder: Path) -> Path:
    """The cache in the making."""
    return folder.with_name(f"{folder.name}.part")


def stale(folder: Path) -> Path:
    """One that was begun for other clips."""
    return folder.with_name(f"{folder.name}.stale")


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def recover(folder: Path) -> None:
    """End what a kill cut off at the very end of another `prepare`."""
    making, old = part(folder), _old(folder)
    if (making / MANIFEST).is_file() and not (making / JOURNAL).is_file():
        put_in_place(folder)
    elif making.is_dir() and not (making / JOURNAL).is_file():
        shutil.rmtree(making)
    if old.is_dir() and not folder.is_dir():
        move_whole(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def all_of(folder: Path) -> tuple[Path, ...]:
    """The places above, which are folders wherever they are there."""
    return folder, part(folder), stale(folder), _old(folder)


def is_begun(folder: Path) -> bool:
    """Whether there is work to go on with."""
    return (part(folder) / JOURNAL).is_file() or stale(folder).is_dir()


def discard(making: Path) -> None:
    """Remove a cache in the making; at no moment of it can the rest be taken for whole."""
    (making / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(making, ignore_errors=True)


def put_in_place(folder: Path) -> None:
    """The whole cache in the making becomes the finished one."""
    (part(folder) / JOURNAL).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(_old(folder), ignore_errors=True)
        move_whole(folder, _old(folder))
    move_whole(part(folder), folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def put_aside(making: Path) -> None:
    """What was begun for other clips gives its rows to the next."""
    aside = making.with_suffix(".stale")
    shutil.rmtree(aside, ignore_errors=True)
    move_whole(making, aside)


def tidy(folder: Path) -> None:
    """Remove what a finished cache has no use for."""
    shutil.rmtree(stale(folder), ignore_errors=True)


def write(making: Path, files: Mapping[str, bytes]) -> None:
    """The small files, the manifest last and atomically."""
    for name, content in files.items():
        write_whole(making / name, content)
    _remove_others(making, {*files, *(f"{path.name}" for path in making.glob("*.npy")), JOURNAL})


def holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the small files of a cache are these."""
    return all((folder / name).is_file() and (folder / name).read_bytes() == text for name, text in files.items())


def link_arrays(folder: Path, making: Path, fields: Iterable[str]) -> None:
    """The arrays of a finished cache for one that differs in its small files alone; finished arrays never change."""
    making.mkdir()
    for field in fields:
        try:
            os.link(folder / f"{field}.npy", making / f"{field}.npy")
        except OSError:  # a file system without links
            shutil.copyfile(folder / f"{field}.npy", making / f"{field}.npy")


def require_room(parent: Path, making: Path, recipe: Recipe, clips: int) -> None:
    """UserError where the arrays do not fit on the disk, before anything is decoded."""
    row = sum(int(np.dtype(f.dtype).itemsize * np.prod(f.shape, dtype=int)) for f in recipe.fields.values())
    needed = clips * row - on_disk(making)
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"'{parent}' has {free / 2**20:,.1f} MiB free, and the cache of {clips} clips needs {needed / 2**20:,.1f} "
            "MiB more. Free space, or give another --data-root."
        )


def on_disk(folder: Path) -> int:
    """Bytes that the files of a folder take; holes take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _remove_others(making: Path, names: set[str]) -> None:
    for path in making.rglob("*"):
        if path.is_file() and path.relative_to(making).as_posix() not in names:
            path.unlink()
