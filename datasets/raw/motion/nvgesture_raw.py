"""The raw folder of NVGesture: its lists, the three videos of each gesture, and how a gesture becomes a row."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.media.reasons import Unusable, report
from mcr_bench.datasets.raw.lists import by_lower_name, numbered_lines, read_lists
from mcr_bench.datasets.raw.raw_files import VIDEO, as_lines, count

VIDEOS = "Video_data"
LISTS = {"train": "nvgesture_train_correct", "test": "nvgesture_test_correct"}
STREAMS = {"color": "sk_color", "depth": "sk_depth", "infrared": "duo_left"}
KEYS = {"color": "color", "depth": "depth", "infrared": "duo_left"}  # the names of the streams in the lists
LAYOUT = (
    "SOURCE/\n"
    f"  {VIDEOS}/class_NN/subjectS_rR/sk_color.avi, sk_depth.avi, duo_left.avi\n"
    "  nvgesture_train_correct*.lst, nvgesture_test_correct*.lst   lines: path:./Video_data/class_01/subject13_r0\n"
    "                           depth:sk_depth:138:218 color:sk_color:138:218 duo_left:duo_left:161:254 label:1"
)
CLASSES = (
    *("move hand left", "move hand right", "move hand up", "move hand down", "move two fingers left"),
    *("move two fingers right", "move two fingers up", "move two fingers down", "click index finger", "call someone"),
    *("open hand", "shake hand", "show index finger", "show two fingers", "show three fingers", "push hand up"),
    *("push hand down", "push hand out", "pull hand in", "rotate fingers clockwise"),
    *("rotate fingers counter-clockwise", "push two fingers away", "close hand twice", "thumb up", "okay"),
)
HELD = 2  # training subjects that validate
VERSION = 1
AGAIN = "Use the list of the dataset's own download."
PLACE = re.compile(r"class_(\d{1,3})[/\\](subject(\d{1,3})_r\d{1,3})/?", re.ASCII | re.IGNORECASE)
SPAN = re.compile(r"(\w+):(\d{1,9}):(\d{1,9})", re.ASCII)


class Gesture(NamedTuple):
    """One line of a list.

    folder: the folder of its videos below `VIDEOS`.
    subject: the number of the person.
    label: the index of the class, from 0.
    spans: stream -> first frame, and the frame after the last one.
    """

    folder: str
    subject: str
    label: int
    spans: Mapping[str, tuple[int, int]]

    @property
    def id(self) -> str:
        """The folder as a name.

        >>> Gesture("class_01/subject13_r0", "13", 0, {}).id
        'class_01_subject13_r0'
        """
        return self.folder.replace("/", "_")


def gestures(name: str, content: bytes) -> Iterator[Gesture]:
    """The lines of a list; UserError that gives the line if it cannot be understood. name: the list, for messages."""
    for number, line in numbered_lines(content):
        fields = dict(part.split(":", 1) for part in line.split() if ":" in part)
        place = PLACE.search(fields.get("path", ""))
        spans = {stream: SPAN.fullmatch(fields.get(key, "")) for stream, key in KEYS.items()}
        label = fields.get("label", "")
        if not place or not all(spans.values()) or not label.isdecimal() or not 1 <= int(label) <= len(CLASSES):
            raise UserError(
                f"{name}, line {number}: '{line[:120]}' does not have a path, depth, color, duo_left and a label of 1 "
                f"to {len(CLASSES)}. {AGAIN}"
            )
        at = {stream: (int(span[2]), int(span[3])) for stream, span in spans.items() if span}
        if any(end <= start for start, end in at.values()):
            raise UserError(f"{name}, line {number}: a gesture ends before it starts. {AGAIN}")
        folder = f"class_{int(place[1]):02}/{place[2].lower()}"
        yield Gesture(folder, str(int(place[3])), int(label) - 1, at)


def read(source: Path, splits: Sequence[Path]) -> dict[str, bytes]:
    """train and test -> content of the lists, which may carry a version in their names; UserError if one is missing."""
    files: dict[str, Path] = {}
    inside = [path for _, path in sorted(by_lower_name(source).items()) if path.suffix.lower() == ".lst"]
    for given in (inside, splits):
        for path in given:
            part = next((part for part, name in LISTS.items() if path.name.lower().startswith(name)), None)
            if part is None and given is splits:
                raise UserError(f"'{path}' is not a list of NVGesture. Allowed: {', '.join(LISTS.values())} with .lst.")
            if part is not None and given is inside and part in files:
                raise UserError(f"'{files[part]}' and '{path}' are both lists of {part}. Keep one of them.")
            if part is not None:
                files[part] = path
    if missing := [f"{LISTS[part]}*.lst" for part in LISTS if part not in files]:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}. Expected:\n{LAYOUT}")
    return read_lists(dict(sorted(files.items())))


def listed(lists: Mapping[str, bytes]) -> dict[str, tuple[Gesture, str]]:
    """Id -> gesture and part (train or test); UserError for a gesture that is listed twice."""
    result: dict[str, tuple[Gesture, str]] = {}
    for part in LISTS:
        for gesture in gestures(f"the list of {part}", lists[part]):
            if gesture.id in result:
                raise UserError(f"the list of {part} has {gesture.id}, which is listed before. {AGAIN}")
            result[gesture.id] = (gesture, part)
    return result


def parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Id -> train, val or test; validation is two of the training subjects, those with the lowest hashes."""
    of = listed(lists)
    train = {gesture.subject for gesture, part in of.values() if part == "train"}
    held = sorted(train, key=lambda subject: hashlib.sha256(f"nvgesture {subject}".encode()).hexdigest())
    held = held[: min(HELD, max(len(held) - 1, 0))]
    return {key: "val" if part == "train" and gesture.subject in held else part for key, (gesture, part) in of.items()}


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """The gestures with all three videos, in the order of ids; UserError if a list or all videos are missing."""
    lists = read(source, splits)
    place = by_lower_name(source).get(VIDEOS.lower(), source / VIDEOS)
    scan = Scan([], lists=lists)
    for key, (gesture, _) in sorted(listed(lists).items()):
        files = _files(place / gesture.folder)
        if missing := [STREAMS[stream] for stream in STREAMS if stream not in files]:
            scan.problems.append((key, f"no {' and no '.join(missing)} in {VIDEOS}/{gesture.folder}"))
        else:
            scan.clips.append(_clip(gesture, files))
    if not scan.clips:
        raise UserError(f"'{source}' has no gesture of its lists.{as_lines(scan.problems[:3])}\nExpected:\n{LAYOUT}")
    if scan.problems:
        scan.notes.append((VIDEOS, f"{count(len(scan.problems), 'listed gesture')} without all three videos"))
    return scan


def listed_clips(source: Path, splits: Sequence[Path]) -> Scan:
    """Every gesture of the lists, as if all videos were available."""
    lists = read(source, splits)
    return Scan([_clip(gesture, {}) for _, (gesture, _) in sorted(listed(lists).items())], lists=lists)


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: a stream (F, 3, S, S) uint8 each, and aspect () float32 of the colour stream."""
    shape = (settings["frames"], 3, settings["frame_size"], settings["frame_size"])
    return {**{stream: Field(shape, "uint8") for stream in STREAMS}, "aspect": Field((), "float32")}


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: frames spread evenly over the gesture's span in each stream. Raises `Unusable`.

    Grey pictures (depth, infrared) have three equal channels.
    """
    from mcr_bench.datasets.media.decode import aspect, fit

    rows: dict[str, Array] = {}
    for stream in STREAMS:
        role = next(role for role in clip.files if role.startswith(f"{stream}@"))
        start, end = map(int, role.split("@")[1].split("-"))
        frames = _of_span(clip.files[role], spread(start, end, settings["frames"]), end)
        rows[stream] = fit(frames, settings["frame_size"])
        if stream == "color":
            rows["aspect"] = np.asarray(aspect(frames), np.float32)
    return rows


def _of_span(path: Path, numbers: list[int], end: int) -> Array:
    """The frames with these numbers; after the end of the video its last one, which is reported."""
    from mcr_bench.datasets.media.decode import read_numbered

    try:
        return read_numbered(path, numbers, pad=False)
    except Unusable:
        frames = read_numbered(path, numbers)
        report(f"{path.name} ends before frame {end}, where its span ends; the last frame is repeated")
        return frames


def spread(start: int, end: int, number: int) -> list[int]:
    """The middles of `number` equal parts of the frames start to end - 1.

    >>> spread(138, 218, 4)
    [148, 168, 188, 208]
    """
    return [start + int((at + 0.5) * (end - start) / number) for at in range(number)]


def _files(folder: Path) -> dict[str, Path]:
    """Stream -> its video in the folder of a gesture; UserError that names two videos of one stream."""
    here: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in VIDEO and not path.name.startswith("."):
            first = here.setdefault(path.stem.lower(), path)
            if first != path and path.stem.lower() in STREAMS.values():
                raise UserError(f"'{first}' and '{path}' are the same video. Keep one of them.")
    return {stream: here[name] for stream, name in STREAMS.items() if name in here}


def _clip(gesture: Gesture, files: Mapping[str, Path]) -> Clip:
    """A clip whose roles hold the spans, so that another list is another source: color@138-218."""
    roles = {f"{stream}@{gesture.spans[stream][0]}-{gesture.spans[stream][1]}": path for stream, path in files.items()}
    return Clip(gesture.id, gesture.label, f"subject{gesture.subject}", roles)
