"""Raw folders: what cannot be read there, and media files, one for each clip."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mcr_bench.bench.errors import UserError

VIDEO = (".avi", ".flv", ".mkv", ".mp4", ".webm")
AUDIO = (".flac", ".m4a", ".mp3", ".ogg", ".wav")
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
LOOKED_AT = 1000  # entries of a folder that tell what it is


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """UserError that names the file or folder below `source` that the user may not read."""
    try:
        yield
    except OSError as error:
        place = error.filename or source
        raise UserError(f"'{place}' cannot be read ({error.strerror}). Make it readable, or copy it again.") from error


@dataclass
class MediaFiles:
    """The media files of the folders of a raw set, and what else is there. Hidden files count for nothing.

    official: the suffix of the download. kinds: all suffixes that are read, in any letter case: a clip that somebody
    has converted is as good as it decodes. passed: suffix -> files of other kinds. frames: folders of pictures.
    """

    official: str
    kinds: tuple[str, ...]
    passed: Counter[str] = field(default_factory=Counter)
    frames: list[str] = field(default_factory=list)

    def files(self, folder: Path) -> list[Path]:
        """Those of the kinds that are read, the official ones first, each in the order of names."""
        found = []
        for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
            is_dir = path.is_dir()
            if is_dir and self._holds_pictures(path):
                self.frames.append(path.name)
            elif path.suffix.lower() in self.kinds:
                found.append(path)
            elif not is_dir:
                self.passed[path.suffix.lower() or "none"] += 1
        return sorted(found, key=lambda path: path.suffix.lower() != self.official)

    def one_per_clip(self, folder: Path) -> dict[str, Path]:
        """Name without suffix -> file; UserError that names both where two files are the same clip, and counts more."""
        found: dict[str, Path] = {}
        twice: dict[str, Path] = {}
        for path in self.files(folder):
            if path.stem in found:
                twice.setdefault(path.stem, path)
            found.setdefault(path.stem, path)
        for name, path in twice.items():
            more = f" (so are the files of {count(len(twice) - 1, 'more clip')})" if len(twice) > 1 else ""
            raise UserError(f"'{found[name]}' and '{path}' are the same clip. Keep one of them{more}.")
        return found

    def notes(self, place: str, used: Iterable[Path]) -> list[tuple[str, str]]:
        """(place, what): the used clips that have another suffix, files passed over, and folders of pictures."""
        other = Counter(path.suffix.lower() for path in used if path.suffix.lower() != self.official)
        told = [f"{count(n, 'clip')} as {suffix} instead of {self.official}" for suffix, n in sorted(other.items())]
        if self.passed:
            ends = ", ".join(f"{suffix} {n:,}" for suffix, n in sorted(self.passed.items()))
            read = " or ".join(part for part in (", ".join(self.kinds[:-1]), self.kinds[-1]) if part)
            told.append(f"{count(self.passed.total(), 'file')} passed over, not ending in {read}: {ends}")
        if self.frames:
            told.append(
                f"{count(len(self.frames), 'folder')} of pictures, {self.frames[0]} first: frames already extracted, "
                f"which are not read. Put the {self.official} files of the download there: their time stamps and "
                "sound are needed."
            )
        return [(place, what) for what in told]

    def _holds_pictures(self, folder: Path) -> bool:
        ends = {path.suffix.lower() for path in islice(folder.iterdir(), LOOKED_AT)}
        return bool(ends & PICTURES) and not ends & set(self.kinds)


def as_lines(notes: Iterable[tuple[str, str]]) -> str:
    """Notes as lines of an error, each after a line break."""
    return "".join(f"\n{place}: {what}" for place, what in notes)


def count(number: int, what: str) -> str:
    """'1 clip', '2 clips', '3 classes'."""
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"
