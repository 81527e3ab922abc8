"""The raw folder of AVE: its events, the lists that contain them, and how an event becomes a row of the cache."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.raw.extracted import Extracted, extracted, role_of, shown, sound_file
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, numbered_lines, read_lists, repeated
from mcr_bench.datasets.raw.raw_files import VIDEO, MediaFiles, count
from mcr_bench.datasets.raw.sound_and_frames import row_of, sound_and_frames

ANNOTATIONS = "Annotations.txt"
PARTS = {"trainSet.txt": "train", "valSet.txt": "val", "testSet.txt": "test"}
LAYOUT = (
    "SOURCE/\n"
    "  AVE/VIDEO.mp4      the videos; VIDEO is the id of 11 characters on YouTube\n"
    "  Image-01-FPS/VIDEO/*.jpg, VIDEO.wav    instead of AVE/: extracted frames, here 1 per second, and sound\n"
    f"  {ANNOTATIONS}    one line per event: class&VIDEO&quality&start&end, in whole seconds\n"
    "  trainSet.txt, valSet.txt, testSet.txt    the same lines, for each part"
)
CLASSES = (
    *("Accordion", "Acoustic guitar", "Baby cry, infant cry", "Banjo", "Bark", "Bus", "Cat", "Chainsaw"),
    *("Church bell", "Clock", "Female speech, woman speaking", "Fixed-wing aircraft, airplane", "Flute"),
    *("Frying (food)", "Goat", "Helicopter", "Horse", "Male speech, man speaking", "Mandolin", "Motorcycle"),
    *("Race car, auto racing", "Rodents, rats, mice", "Shofar", "Toilet flush", "Train horn", "Truck", "Ukulele"),
    "Violin, fiddle",
)
AGAIN = "Use the list from AVE's own download."
VERSION = 1
RATE, SECONDS = 16000, 10
SAMPLED = 10  # frames that the released code keeps of every event; the first `frames` of them are used


SLUGS = {label: re.sub("[^a-z]+", "-", label.lower()).strip("-") for label in CLASSES}


class Event(NamedTuple):
    """One line of a list.

    label: the class that is seen and heard.
    video: the id of the video.
    start: the start of the event in seconds.
    end: the end of the event in seconds.
    """

    label: str
    video: str
    start: int
    end: int

    @property
    def id(self) -> str:
        """Video, start, end and label, because a video may be listed with two labels.

        >>> Event("Male speech, man speaking", "VWi2ENBuTbw", 0, 4).id
        'VWi2ENBuTbw_0-4_male-speech-man-speaking'
        """
        return f"{self.video}_{self.start}-{self.end}_{SLUGS[self.label]}"


def events(name: str, content: bytes) -> Iterator[Event]:
    """The events of a list, without its header; UserError that gives the line if it cannot be understood.

    name: the name of the list, for messages.

    >>> [event.end for event in events("trainSet.txt", b"Bus&VWi2ENBuTbw&good&0&4")]
    [4]
    """
    for number, line in numbered_lines(content):
        if number == 1 and line.lower().startswith("category&"):
            continue
        match line.split("&"):
            case [label, video, _, start, end] if start.isdecimal() and end.isdecimal() and video:
                if label not in CLASSES:
                    raise UserError(f"{name}, line {number}: {unknown('class of AVE', label, CLASSES)} {AGAIN}")
                yield Event(label, video, int(start), int(end))
            case _:
                raise UserError(f"{name}, line {number}: '{line}' is not class&VIDEO&quality&start&end. {AGAIN}")


def parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Id of an event -> train, val or test; UserError for an event that is in two parts.

    lists: name -> content of the lists of the three parts.
    """
    part_by_id: dict[str, str] = {}
    for name, part in PARTS.items():
        for event in events(name, lists[name]):
            if part_by_id.setdefault(event.id, part) != part:
                raise UserError(f"{name} lists {event.id}, which is already in {part_by_id[event.id]}. {AGAIN}")
    return part_by_id


def leaving(lists: Mapping[str, bytes]) -> dict[Event, str]:
    """Event -> part, for the events that are removed from their part in the protocol `official-dedup`.

    Events of a video that is also in validation or test are removed from train; events of a video that is also in test
    are removed from validation.
    """
    part, listed = parts(lists), {event for name in PARTS for event in events(name, lists[name])}
    held = {name: {event.video for event in listed if part[event.id] == name} for name in ("val", "test")}
    forbidden = {"train": held["val"] | held["test"], "val": held["test"], "test": set()}
    return {event: part[event.id] for event in listed if event.video in forbidden[part[event.id]]}


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """Every event of Annotations.txt with an available video; UserError if the folder or a list is not AVE's."""
    files = list_files(source, (ANNOTATIONS, *PARTS), splits)
    folder = by_lower_name(source).get("ave", source / "AVE")
    missing = [name for name in (ANNOTATIONS, *PARTS) if name not in files]
    made = Extracted() if folder.is_dir() else extracted(source)
    if not folder.is_dir() and not made.frames:
        missing.append("AVE")
    if missing:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}. Expected:\n{LAYOUT}")
    lists = read_lists(files)
    part = parts(lists)
    media = MediaFiles(".mp4", VIDEO)
    files_of = _files_of(media.one_per_clip(folder) if folder.is_dir() else {}, made)
    scan = _clips(lists[ANNOTATIONS], files_of, part)
    scan.lists = lists | made.note()
    annotated = {event.id: event.video for event in events(ANNOTATIONS, lists[ANNOTATIONS])}
    for name in PARTS:
        scan.problems += repeated(name, (event.id for event in events(name, lists[name])))
    scan.problems += [(key, f"in {part[key]}, but not in {ANNOTATIONS}") for key in part if key not in annotated]
    scan.notes = _notes(media, folder, files_of, set(annotated.values()))
    return scan


def _files_of(videos: Mapping[str, Path], made: Extracted) -> dict[str, dict[str, Path]]:
    """Video -> role -> file: the video itself, or its extracted frames and sound if there are both."""
    both = {video: folder for video, folder in made.frames.items() if video in made.sounds}
    frames = {video: {role_of(folder): folder, "audio": made.sounds[video]} for video, folder in both.items()}
    return frames | {video: {"video": path} for video, path in videos.items()}


def listed_clips(source: Path, splits: Sequence[Path]) -> Scan:
    """Every event of the lists in a folder, as if its video were available; UserError if a list is missing or wrong."""
    files = list_files(source, (ANNOTATIONS, *PARTS), splits)
    missing = [name for name in PARTS if name not in files]
    if missing:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}. Give the folder of AVE's own lists.")
    lists = read_lists(files)
    parts(lists)  # a UserError where they contradict each other
    listed = {event.id: event for name in lists for event in events(name, lists[name])}
    result = Scan([], lists=lists)
    for name in PARTS:
        result.problems += repeated(name, (event.id for event in events(name, lists[name])))
    result.clips = [_clip(listed[key], {}) for key in sorted(listed)]
    return result


def _clip(event: Event, files: Mapping[str, Path]) -> Clip:
    return Clip(event.id, CLASSES.index(event.label), event.video, files, (float(event.start), float(event.end)))


def _clips(annotations: bytes, videos: Mapping[str, Mapping[str, Path]], part: Mapping[str, str]) -> Scan:
    """The events with an available video, in the order of ids, and the problems of the others."""
    scan = Scan([])
    seen: set[str] = set()
    for event in events(ANNOTATIONS, annotations):
        problem = _problem(event, seen, videos, part.get(event.id, "no part"))
        seen.add(event.id)
        if problem:
            scan.problems.append((event.id, problem))
            continue
        scan.clips.append(_clip(event, videos[event.video]))
    scan.clips.sort(key=lambda clip: clip.id)
    return scan


def _notes(
    media: MediaFiles, folder: Path, videos: Mapping[str, Mapping[str, Path]], annotated: set[str]
) -> list[tuple[str, str]]:
    used = (files["video"] for video, files in videos.items() if video in annotated and "video" in files)
    notes = media.notes(folder.name, used)
    if stray := sorted(videos.keys() - annotated):
        notes.append((folder.name, f"{count(len(stray), 'video')} not listed in {ANNOTATIONS}, {stray[0]} first"))
    return notes


def _problem(event: Event, seen: set[str], videos: Collection[str], part: str) -> str:
    """Why an event is left out; '' if it is used. seen: the ids of the events before it."""
    if event.id in seen:
        return f"in {ANNOTATIONS} more than once; used once"
    if event.end <= event.start:
        return f"in {part}: the event ends at {event.end} s, which is not after its start"
    return "" if event.video in videos else f"in {part}: no AVE/{event.video}.mp4"


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: sound, frames and aspect.

    Sound is a log power spectrogram (1, 257, 1004), or a waveform (160000,) of 16 kHz in [-1, 1] for transformers.
    """
    audio = (RATE * SECONDS,) if settings["backbone"] == "transformers" else (1, 257, 1004)
    return sound_and_frames(audio, settings["frames"], settings["frame_size"])


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array (audio, video, aspect; see `fields`), from the annotated segment alone.

    Audio is (1, 257, 1004) or (160000,) float16, video (frames, 3, size, size) uint8. The sound of the segment is
    repeated to 10 s. Of 10 frames spread evenly over the segment the first `frames` are used; if it lasts 10 s,
    they are 1 per second. The MCR code instead adds random frames to short events.
    """
    from mcr_bench.datasets.media.decode import read_audio
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_power, tile

    assert clip.span is not None
    start, end = clip.span
    path = sound_file(clip)
    wave = tile(require_sound(read_audio(path, RATE, start, end - start), path.name), RATE * SECONDS)
    audio = wave if settings["backbone"] == "transformers" else log_power(wave, RATE)[None]
    times = [start + i * (end - start) / SAMPLED for i in range(settings["frames"])]
    return row_of(audio, shown(clip, times, pad=True), settings["frame_size"])
