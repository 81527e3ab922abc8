"""The files of running runs in the home of the record, and what is removed when they are finished."""

import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mcr_bench.bench.core.files import remove_partials
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec


def work_folder(home: Path, spec: RunSpec) -> Path:
    """The folder of a run's checkpoint, until it is finished."""
    return home / "work" / spec.key


def weights_file(home: Path, spec: RunSpec) -> Path:
    """The file of a run's best weights."""
    return home / "weights" / f"{spec.key}.pt"


def key_lock(home: Path, key: str) -> FileLock:
    """The lock of a key, which the command that trains it holds."""
    (home / "locks").mkdir(parents=True, exist_ok=True)
    return FileLock(home / "locks" / f"{key}.lock")


def clean(home: Path, lock: FileLock) -> None:
    """Remove the files that a finished run no longer needs, and its lock, which must be held, last."""
    file = Path(lock.lock_file)
    shutil.rmtree(home / "work" / file.stem, ignore_errors=True)
    remove_partials(home / "weights", file.stem)
    # Only now: who gets hold of the removed file and who makes a new one both find the key finished.
    file.unlink(missing_ok=True)


def sweep(record: Record, wanted: set[str]) -> None:
    """Remove files of commands that were killed after recording a run as finished and before removing its files."""
    home = record.home
    left = {path.stem for folder in ("work", "locks") for path in (home / folder).glob("*")} - wanted
    for key in record.finished_keys(left) if left else ():
        lock = key_lock(home, key)
        with suppress(Timeout), lock.acquire(timeout=0):
            clean(home, lock)
