"""Media files of a raw folder: one for each clip."""

from pathlib import Path

from mcr_bench.bench.errors import UserError

VIDEO = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


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
