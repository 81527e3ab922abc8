"""The raw folder of Kinetics-Sounds: its lists, the available clips, and the part of each clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.raw.held_out import train_and_validation
from mcr_bench.datasets.raw.raw_files import as_lines
from mcr_bench.datasets.raw.web import files, ks_lists
from mcr_bench.datasets.raw.web.ks_lists import CLASSES

LAYOUT = (
    f"SOURCE/\n{files.LAYOUT}\n"
    "and lists of one form, in SOURCE itself or with --splits FILE:\n"
    "  KS_train_val.json            (training, validation and testing)\n"
    "  my_train.txt, my_test.txt    (VIDEO_START,10,CLASS with the index of the class in alphabetical order)\n"
    "  train.csv, test.csv          (youtube_id,label)"
)


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """The clips of the lists with available files; UserError if the lists are refused or no clip is available."""
    lists = ks_lists.read(source, splits)
    listed = ks_lists.listed(lists)
    available = files.web_files(source)
    result = files.clips_of(available, {name: video for video, name in listed.names.items()}, listed.labels, lists)
    if not result.clips:
        notes = as_lines(result.notes)
        raise UserError(f"'{source}' has no clip of the videos in its lists.{notes}\nExpected:\n{LAYOUT}")
    present = [clip.id for clip in result.clips]
    for name, part in listed.parts.items():
        result.problems += files.missing_per_class(name, part, present, listed.labels, dict(enumerate(CLASSES)))
    if ks_lists.TRAP not in lists and any(path.name.lower() == ks_lists.TRAP.lower() for path in source.iterdir()):
        result.notes.append((ks_lists.TRAP, "ignored: its training part contains the test videos of the other lists"))
    return result


def listed_clips(source: Path, splits: Sequence[Path]) -> Scan:
    """Every clip of the lists, as if all were available."""
    lists = ks_lists.read(source, splits)
    listed = ks_lists.listed(lists)
    return Scan([Clip(video, listed.labels[video], video, {}) for video in sorted(listed.labels)], lists=lists)


def parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Video -> train, val or test; where the lists have no validation part, a tenth of each class of train is one."""
    listed = ks_lists.listed(lists)
    part = {video: name for of in listed.parts.values() for video, name in of.items()}
    if ks_lists.has_validation(lists):
        return part
    return part | train_and_validation({video: listed.labels[video] for video, name in part.items() if name == "train"})
