"""Folders that may only be read, for root too: by a mount, or as a user without rights."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[None]:
    """Inside the block the folder is on a read-only file system; skips where this machine does not let us mount."""
    mount = ["mount", "--bind", str(folder), str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Inside the block this process has no special rights to files, and may enter the folders above `folder`.

    Whatever is imported inside has to be imported before.
    """
    if os.geteuid() != 0:
        yield
        return
    for above in folder.parents:
        if above.owner() == "root" and len(above.parts) > 2:
            above.chmod(above.stat().st_mode | 0o055)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def without_rights(folder: Path, files: int = 0o444, folders: int = 0o555) -> None:
    """Take the right to write from everybody, in all of a folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(folders if path.is_dir() else files)
    folder.chmod(folders)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Path -> size and time of change of all files and folders: a file that came and went changed its folder."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}
