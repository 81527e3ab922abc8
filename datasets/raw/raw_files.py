"""Raw folders: errors of reading, and the media files in them, one for each clip."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import plural
from mcr_bench.datasets.media.pictures import PICTURES

VIDEO = (".avi", ".flv", ".mkv", ".mp4", ".webm")
AUDIO = (".flac", ".m4a", ".mp3", ".ogg", ".wav")
LOOKED_AT = 1000  # entries of a folder that are read to find out what it holds


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Turns an error of reading inside into a UserError that names the file or folder in `source`."""
    try:
        yield
    except OSError as error:
        place = error.filename or source
        raise UserError(f"'{place}' cannot be read ({error.strerror}). Make it readable, or copy it again.") from error


@dataclass
class MediaFiles:
    """The media files in the folders of a raw dataset, and a count of everything else. Hidden files are ignored.

    official: the suffix of the files in the download.
    kinds: all suffixes that are read, in any letter case, because clips may have been converted.
    ignored: suffix -> the number of files of other kinds.
    frames: the names of folders of pictures.
    """

    official: str
    kinds: tuple[str, ...]
    ignored: Counter[str] = field(default_factory=Counter)
    frames: list[str] = field(default_factory=list)

    def files(self, folder: Path) -> list[Path]:
        """The files of a folder that are read, those with the official suffix first, each sorted by name."""
        files = []
        for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
            is_dir = path.is_dir()
            if is_dir and self._holds_pictures(path):
                self.frames.append(path.name)
            elif path.suffix.lower() in self.kinds:
                files.append(path)
            elif not is_dir:
                self.ignored[path.suffix.lower() or "none"] += 1
        return sorted(files, key=lambda path: path.suffix.lower() != self.official)

    def one_per_clip(self, folder: Path) -> dict[str, Path]:
        """Name without suffix -> file; UserError that names two files of one clip and counts other such clips."""
        file_of: dict[str, Path] = {}
        twice: dict[str, Path] = {}
        for path in self.files(folder):
            if path.stem in file_of:
                twice.setdefault(path.stem, path)
            file_of.setdefault(path.stem, path)
        for name, path in twice.items():
            more = f" ({count(len(twice) - 1, 'more clip')} with several files)" if len(twice) > 1 else ""
            raise UserError(f"'{file_of[name]}' and '{path}' are the same clip. Keep one of them{more}.")
        return file_of

    def notes(self, place: str, used: Iterable[Path]) -> list[tuple[str, str]]:
        """(place, remark) about used files with another suffix, ignored files, and folders of pictures.

        place: the name of the folder. used: the files that are used.
        """
        other = Counter(path.suffix.lower() for path in used if path.suffix.lower() != self.official)
        remarks = [f"{count(n, 'clip')} as {suffix} instead of {self.official}" for suffix, n in sorted(other.items())]
        if self.ignored:
            suffixes = ", ".join(f"{suffix} {n:,}" for suffix, n in sorted(self.ignored.items()))
            kinds = " or ".join(part for part in (", ".join(self.kinds[:-1]), self.kinds[-1]) if part)
            remarks.append(f"{count(self.ignored.total(), 'file')} ignored, not ending in {kinds}: {suffixes}")
        if self.frames:
            remarks.append(
                f"{count(len(self.frames), 'folder')} of pictures, {self.frames[0]} first: extracted frames are not "
                f"read. Put the {self.official} files of the download in their place: their time stamps and sound are "
                "needed."
            )
        return [(place, remark) for remark in remarks]

    def _holds_pictures(self, folder: Path) -> bool:
        ends = {path.suffix.lower() for path in islice(folder.iterdir(), LOOKED_AT)}
        return bool(ends & PICTURES) and not ends & set(self.kinds)


def as_lines(notes: Iterable[tuple[str, str]]) -> str:
    """Notes as lines of an error, each after a line break.

    >>> as_lines([("AVE", "2 files ignored")])
    '\\nAVE: 2 files ignored'
    """
    return "".join(f"\n{place}: {what}" for place, what in notes)


def count(number: int, noun: str) -> str:
    """A number and a noun in the right form.

    >>> count(1, "clip"), count(2_000, "clip"), count(3, "class")
    ('1 clip', '2,000 clips', '3 classes')
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"
