"""Raw folders: what cannot be read there, and media files, one for each clip."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcr_bench.bench.errors import UserError

VIDEO = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """UserError that names the file or folder below `source` that the user may not read."""
    try:
        yield
    except OSError as error:
        place = error.filename or source
        raise UserError(f"'{place}' cannot be read ({error.strerror}). Make it readable, or copy it again.") from error


def one_per_clip(folder: Path, suffix: str, others: tuple[str, ...] = ()) -> dict[str, Path]:
    """Name without suffix -> file, of the files with `suffix`, whatever its letter case; hidden files are passed over.

    UserError that names both where another file is the same clip: one with `suffix` too, or with one of `others`.
    """
    allowed = {suffix, *others}
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in allowed and not p.name.startswith("."))
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise UserError(f"'{found[path.stem]}' and '{path}' are the same clip. Keep one of them.")
        found[path.stem] = path
    return {stem: path for stem, path in found.items() if path.suffix.lower() == suffix}
