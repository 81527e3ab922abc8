"""Where runs under way keep their files in the home of the record, and what is removed when they are finished."""

import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mcr_bench.bench.core.files import remove_partials
from mcr_bench.bench.record.tracking import Record
from mcr_bench.bench.runs.spec import RunSpec


def work_folder(home: Path, spec: RunSpec) -> Path:
    """Where a run keeps its checkpoint until it is finished."""
    return home / "work" / spec.key


def weights_file(home: Path, spec: RunSpec) -> Path:
    """Where a run's best weights are."""
    return home / "weights" / f"{spec.key}.pt"


def key_lock(home: Path, key: str) -> FileLock:
    """Held by the command that trains the key."""
    (home / "locks").mkdir(parents=True, exist_ok=True)
    return FileLock(home / "locks" / f"{key}.lock")


def clean(home: Path, lock: FileLock) -> None:
    """Remove what a finished run needs no longer, its lock, which is held, last."""
    file = Path(lock.lock_file)
    shutil.rmtree(home / "work" / file.stem, ignore_errors=True)
    remove_partials(home / "weights", file.stem)
    # Only now: who gets hold of the removed file and who makes a new one both find the key finished.
    file.unlink(missing_ok=True)


def sweep(record: Record, wanted: set[str]) -> None:
    """Clean up after commands killed between recording a run as finished and removing what it had left."""
    home = record.home
    left = {path.stem for folder in ("work", "locks") for path in (home / folder).glob("*")} - wanted
    for key in record.finished_keys(left) if left else ():
        lock = key_lock(home, key)
        with suppress(Timeout), lock.acquire(timeout=0):
            clean(home, lock)
