"""The files of web videos in a source: recordings in any folders, or frames and sound that were extracted from them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.raw.extracted import FOLDER, extracted, role_of
from mcr_bench.datasets.raw.folders import walked
from mcr_bench.datasets.raw.raw_files import VIDEO, count
from mcr_bench.datasets.raw.web.names import Name, name_of

LAYOUT = (
    "  ANY FOLDERS/VIDEO_START_END.mp4   VIDEO: the id of 11 characters on YouTube; START and END: seconds, with\n"
    "                                    or without zeros before them; one of them or both may be missing\n"
    "or what was extracted from them, with RR frames per second:\n"
    "  ANY FOLDERS/Image-RR-FPS/VIDEO_START_END/*.jpg, and VIDEO_START_END.wav in any folder"
)


Files = dict[str, dict[int | None, Path]]  # video -> start, or None where it is not stated -> file


@dataclass
class WebFiles:
    """The files of a source by what their names say.

    shown: what shows a clip, its video or its folder of frames.
    heard: the files of sound of clips whose frames were extracted; empty for videos.
    notes: (folder, remark) about what is not used.
    card: what the card of the protocols must say, see `Extracted.note`.
    """

    shown: Files
    heard: Files = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    card: dict[str, bytes] = field(default_factory=dict)

    def of(self, name: Name) -> dict[str, Path]:
        """Role -> file of a clip; empty if one is missing."""
        shown = _either(self.shown, name)
        heard = _either(self.heard, name)
        if shown is None or (self.heard and heard is None):
            return {}
        return {role_of(shown): shown, **({"audio": heard} if heard else {})}


def web_files(source: Path) -> WebFiles:
    """The videos in a source, or the extracted frames if it has none; UserError that names both of two files."""
    videos: Files = {}
    other: Counter[str] = Counter()
    for path in _files(source):
        name = name_of(path.stem)
        if path.suffix.lower() in VIDEO and name:
            _add(videos, name, path)
        elif path.suffix.lower() in VIDEO:
            other["is not VIDEO_START_END"] += 1
    notes = [(source.name, f"{count(number, 'video')}: the name {what}; left out") for what, number in other.items()]
    if videos:
        return WebFiles(videos, notes=notes)
    made = extracted(source)
    files = WebFiles({}, {}, notes, made.note())
    for clips, of in ((made.frames, files.shown), (made.sounds, files.heard)):
        for text, path in clips.items():
            if name := name_of(text):
                _add(of, name, path)
    return files


def clips_of(files: WebFiles, ids: Mapping[Name, str], labels: Mapping[str, int], lists: Mapping[str, bytes]) -> Scan:
    """The clips of the lists with available files, in the order of ids; what is missing is left to the caller.

    ids: name in the lists -> id of the clip. labels: id -> class. The group of a clip is its video.
    """
    available = {key: (name, of) for name, key in ids.items() if (of := files.of(name))}
    clips = [Clip(key, labels[key], available[key][0].video, available[key][1]) for key in sorted(available)]
    return Scan(clips, lists={**lists, **files.card}, notes=list(files.notes))


def missing_per_class(
    name: str, listed: Iterable[str], available: Iterable[str], labels: Mapping[str, int], classes: Mapping[int, str]
) -> list[tuple[str, str]]:
    """(list, problem) for each class of which clips are missing, with the counts; those of complete classes are empty.

    listed: the ids in the list `name`. classes: index -> name.
    """
    ids = list(listed)
    absent = Counter(labels[key] for key in set(ids) - set(available))
    total = Counter(labels[key] for key in ids)
    return [
        (name, f"{absent[label]:,} of {count(total[label], 'clip')} of {classes[label]} missing on disk")
        for label in sorted(absent)
    ]


def _files(source: Path) -> Iterator[Path]:
    """Every file that is not a frame, in the order of folders and names."""
    for here, inner, names in walked(source):
        if FOLDER.fullmatch(here.name):
            inner.clear()
            continue
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _add(of: Files, name: Name, path: Path) -> None:
    starts = of.setdefault(name.video, {})
    if starts.setdefault(name.start, path) != path:
        raise UserError(f"'{starts[name.start]}' and '{path}' are the same clip. Keep one of them.")


def _either(of: Files, name: Name) -> Path | None:
    """The file with the clip's start, or the one that states none; for a clip without a start the video's only file."""
    starts = of.get(name.video, {})
    if name.start is None and len(starts) == 1:
        return next(iter(starts.values()))
    return starts.get(name.start) or starts.get(None)
