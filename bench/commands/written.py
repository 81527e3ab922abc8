"""What a verb wrote into a folder of generated files: outdated ones of its own go, anything else stays."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from mcr_bench.bench.core.files import write_whole
from mcr_bench.bench.errors import UserError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """UserError where the folder, or a file in it, cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write '{error.filename or folder}' ({error.strerror}). It needs a folder that you may write to, "
            "with room; MCR_BENCH_HOME names another place."
        ) from error


def list_of(folder: Path) -> Path:
    """Where the names of the generated files of a folder are kept: beside it, not in it."""
    return folder.with_name(f".{folder.name}.written.json")


def forget_outdated(folder: Path, written: Collection[Path], everything: bool) -> list[Path]:
    """Remove what an earlier call wrote into `folder` and this one did not; returns what was removed.

    everything: whether this call was asked for all that there is; otherwise nothing is outdated by it.
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
    """Names of files in that folder alone, whatever the list says."""
    try:
        return {name for name in json.loads(path.read_text(encoding="utf-8")) if Path(name).name == name}
    except (OSError, ValueError, TypeError):
        return set()
