"""Remember which files a command wrote to a folder, and remove outdated ones; files of others are never removed."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from mcr_bench.bench.commands.output import say
from mcr_bench.bench.core.faults.full_disk import FULL
from mcr_bench.bench.core.files import PARTIAL, may_write, write_whole
from mcr_bench.bench.core.home import DEFAULT
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import Unavailable, UserError


def output_folder(home: Path) -> Path:
    """The folder for what commands make of a record: its home, or, where that may only be read, ./results."""
    other = Path(DEFAULT).resolve()
    if may_write(home) or not may_write(other):
        return home
    say(f"the folder of the record, '{home}', may only be read: files go to '{other}'.", err=True)
    return other


@contextmanager
def writing(place: Path, option: str = "") -> Iterator[None]:
    """Inside the block, an error of writing to a file or folder becomes a UserError. option: which chose the place."""
    try:
        yield
    except OSError as error:
        name = str(error.filename or place)
        name = str(place) if name.endswith(PARTIAL) else name
        remedy = f"Give {option} a place" if option else "Set MCR_BENCH_HOME to a folder"
        kind = Unavailable if error.errno in FULL else UserError
        raise kind(
            f"cannot write '{name}' ({error.strerror}). {remedy} that you may write to, on a disk with free space."
        ) from error


def list_of(folder: Path) -> Path:
    """The file, beside the folder, with the names of the generated files in it."""
    place = folder.resolve()
    return place.parent / f".{place.name}.written.json"


def forget_outdated(folder: Path, written: Collection[Path], everything: bool) -> list[Path]:
    """Remove the files that an earlier call wrote to `folder` and this one did not; returns the removed ones.

    everything: whether this call wrote all tables or figures; only then can other files be outdated.
    """
    names = {path.name for path in written}
    before = _read(list_of(folder))
    outdated = [folder / name for name in sorted(before - names)] if everything else []
    with writing(folder):
        for path in outdated:
            path.unlink(missing_ok=True)
        if folder.is_dir():
            write_whole(list_of(folder), json.dumps(sorted(names if everything else names | before)))
    return outdated


def _read(path: Path) -> set[str]:
    """The names in the list, without those that lead out of the folder."""
    try:
        return {name for name in json_of(path.read_text(encoding="utf-8")) if Path(name).name == name}
    except (OSError, ValueError, TypeError):
        return set()
