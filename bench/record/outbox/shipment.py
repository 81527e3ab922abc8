"""One training on its way to the record: its entries, its journal, and its files."""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from mcr_bench.bench.core.files import move_whole
from mcr_bench.bench.record.outbox import journal
from mcr_bench.bench.record.outbox.entries import Ending, Entry, Opening
from mcr_bench.bench.record.outbox.journal import Damaged

SUFFIX, NUMBERED = ".jsonl", re.compile(r"([0-9]{6,})-.+-")


@dataclass(eq=False)
class Shipment:
    """The entries of a training, in memory and in a journal; FOLDER/NAME/ holds its files.

    opening: its first entry.
    path: the journal.
    entries: what comes after the opening.
    sent: how many of these have been delivered.
    opened: whether the courier has opened its run.
    troubled: whether a delivery of it has failed.
    refusals: how often the server has not taken it.
    """

    opening: Opening
    path: Path
    lock: FileLock
    entries: list[Entry] = field(default_factory=list)
    sent: int = 0
    opened: bool = False
    troubled: bool = False
    refusals: int = 0

    @classmethod
    def begin(cls, folder: Path, opening: Opening) -> "Shipment":
        """A new one, whose lock is held until it is delivered."""
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max(map(_number, journals(folder)), default=0)
        path = folder / f"{number:06}-{opening.key}-{opening.attempt}{SUFFIX}"
        lock = _lock_of(path)
        lock.acquire(timeout=0)
        journal.append(path, opening, safe=True)
        return cls(opening, path, lock)

    @property
    def ending(self) -> Ending | None:
        """How the training ended; None while it goes on."""
        last = self.entries[-1] if self.entries else None
        return last if isinstance(last, Ending) else None

    @property
    def files(self) -> list[Path]:
        """The files that belong to it, as they are kept here."""
        return [] if self.ending is None else [self._folder / name for name in self.ending.artifacts]

    def add(self, entry: Entry) -> None:
        """Add an entry; an OSError of the disk leaves it out. An ending is on the disk when this returns."""
        journal.append(self.path, entry, safe=isinstance(entry, Ending))
        self.entries.append(entry)

    def keep(self, paths: Iterable[Path]) -> dict[str, str]:
        """Keep these files, which may be removed afterwards; name -> digest."""
        digests = {}
        for path in paths:
            self._folder.mkdir(exist_ok=True)
            digests[path.name] = _link(path, self._folder / path.name)
        return digests

    def check_files(self) -> None:
        """Damaged if a file is not what was kept."""
        for path in self.files:
            if self.ending is not None and journal.digest_of(path) != self.ending.artifacts[path.name]:
                raise Damaged(f"{path} is damaged")

    def discard(self) -> None:
        """Remove it from the disk, the journal last."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        _unlock(self.lock)

    def set_aside(self) -> Path:
        """Give the journal a name under which it is not delivered any more."""
        aside = self.path.with_suffix(".aside")
        with suppress(FileNotFoundError):
            move_whole(self.path, aside)
        _unlock(self.lock)
        return aside

    @property
    def _folder(self) -> Path:
        return self.path.with_suffix("")


def waiting(folder: Path) -> tuple[list[Shipment], list[str]]:
    """What commands that have ended have left in a folder, the oldest first; and what cannot be read, in sentences.

    The shipments of commands that are at work are left out, and so is a journal that a kill left empty.
    """
    shipments, problems = [], []
    for path in journals(folder):
        with suppress(Timeout, FileNotFoundError):
            lock = _lock_of(path)
            lock.acquire(timeout=0)
            try:
                if shipment := _read(path, lock):
                    shipments.append(shipment)
            except Damaged as error:
                move_whole(path, aside := path.with_suffix(".aside"))
                _unlock(lock)
                problems.append(
                    f"What a run had to tell the tracking server cannot be delivered: {error}. It is set aside as "
                    f"{aside}; the run is trained again."
                )
    return shipments, problems


def journals(folder: Path) -> list[Path]:
    """The journals in a folder in the order of their beginning, whatever the clock said."""
    return sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (_number(path), path.name))


def _number(path: Path) -> int:
    """The number of a journal among those of its folder; 0 for one of an earlier version."""
    number = NUMBERED.match(path.name)
    return int(number[1]) if number else 0


def _read(path: Path, lock: FileLock) -> Shipment | None:
    entries = journal.read(path)
    if not entries or not isinstance(opening := entries[0], Opening):
        path.unlink()
        _unlock(lock)
        return None
    shipment = Shipment(opening, path, lock, entries[1:])
    try:
        shipment.check_files()
    except OSError as error:
        raise Damaged(f"{error}") from error
    return shipment


def _link(path: Path, here: Path) -> str:
    """Have a file under a second name as well, or copy it to another disk; returns its digest."""
    here.unlink(missing_ok=True)
    try:
        os.link(path, here)
    except OSError:
        shutil.copyfile(path, here)
    with here.open("rb") as file:
        os.fsync(file.fileno())
    return journal.digest_of(here)


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"), thread_local=False)


def _unlock(lock: FileLock) -> None:
    """Remove the file of a lock that is held, and release it: its name does not come again."""
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
