"""The raw folder of AVE: which events there are, in which list they stand, and how one becomes rows of the cache."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, numbered_lines, read_lists, repeated
from mcr_bench.datasets.raw.raw_files import VIDEO, MediaFiles, count

ANNOTATIONS = "Annotations.txt"
PARTS = {"trainSet.txt": "train", "valSet.txt": "val", "testSet.txt": "test"}
LAYOUT = (
    "SOURCE/\n"
    "  AVE/VIDEO.mp4      the videos, VIDEO is the 11 characters of YouTube\n"
    f"  {ANNOTATIONS}    a line per event: class&VIDEO&quality&start&end, whole seconds\n"
    "  trainSet.txt, valSet.txt, testSet.txt    such lines, of each part"
)
CLASSES = (
    *("Accordion", "Acoustic guitar", "Baby cry, infant cry", "Banjo", "Bark", "Bus", "Cat", "Chainsaw"),
    *("Church bell", "Clock", "Female speech, woman speaking", "Fixed-wing aircraft, airplane", "Flute"),
    *("Frying (food)", "Goat", "Helicopter", "Horse", "Male speech, man speaking", "Mandolin", "Motorcycle"),
    *("Race car, auto racing", "Rodents, rats, mice", "Shofar", "Toilet flush", "Train horn", "Truck", "Ukulele"),
    "Violin, fiddle",
)
AGAIN = "Take the list from AVE's own download."
VERSION = 1
RATE, SECONDS = 16000, 10
SAMPLED = 10  # frames that the released code keeps of every event; the first `frames` of them are used


SLUGS = {label: re.sub("[^a-z]+", "-", label.lower()).strip("-") for label in CLASSES}


class Event(NamedTuple):
    """One line of a list: `video` shows and sounds `label` from `start` to `end` seconds."""

    label: str
    video: str
    start: int
    end: int

    @property
    def id(self) -> str:
        """Video, start, end and label: a video may be listed twice, under two labels."""
        return f"{self.video}_{self.start}-{self.end}_{SLUGS[self.label]}"


def events(name: str, content: bytes) -> Iterator[Event]:
    """The events of a list; UserError with the line where one cannot be understood. A header is passed over."""
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
    """Id of an event -> train, val or test; UserError for an event that two parts name."""
    found: dict[str, str] = {}
    for name, part in PARTS.items():
        for event in events(name, lists[name]):
            if found.setdefault(event.id, part) != part:
                raise UserError(f"{name} names {event.id}, which is in {found[event.id]} already. {AGAIN}")
    return found


def leaving(lists: Mapping[str, bytes]) -> dict[Event, str]:
    """Event -> part, of those that leave their part in `official-dedup`: events of a video that validation or test
    holds leave train, those of a video that test holds leave validation.
    """
    part, named = parts(lists), {event for name in PARTS for event in events(name, lists[name])}
    held = {name: {event.video for event in named if part[event.id] == name} for name in ("val", "test")}
    forbidden = {"train": held["val"] | held["test"], "val": held["test"], "test": set()}
    return {event: part[event.id] for event in named if event.video in forbidden[part[event.id]]}


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """Every event of Annotations.txt whose video is there; UserError where the folder is not AVE's."""
    files = list_files(source, (ANNOTATIONS, *PARTS), splits)
    folder = by_lower_name(source).get("ave", source / "AVE")
    missing = [name for name in (ANNOTATIONS, *PARTS) if name not in files] + ["AVE"] * (not folder.is_dir())
    if missing:
        raise UserError(f"'{source}' has no {' and no '.join(missing)}. Expected:\n{LAYOUT}")
    found = Scan([], lists=read_lists(files))
    part = parts(found.lists)
    media = MediaFiles(".mp4", VIDEO)
    videos = media.one_per_clip(folder)
    known: set[str] = set()
    for event in events(ANNOTATIONS, found.lists[ANNOTATIONS]):
        problem = _problem(event, known, videos, part.get(event.id, "no part"))
        known.add(event.id)
        if problem:
            found.problems.append((event.id, problem))
        else:
            span = (float(event.start), float(event.end))
            label = CLASSES.index(event.label)
            found.clips.append(Clip(event.id, label, event.video, {"video": videos[event.video]}, span))
    for name in PARTS:
        found.problems += repeated(name, (event.id for event in events(name, found.lists[name])))
    found.problems += [(key, f"in {part[key]}, but not in {ANNOTATIONS}") for key in part if key not in known]
    found.clips.sort(key=lambda clip: clip.id)
    named = {event.video for event in events(ANNOTATIONS, found.lists[ANNOTATIONS])}
    found.notes = media.notes(folder.name, (path for video, path in videos.items() if video in named))
    if stray := sorted(videos.keys() - named):
        found.notes.append(
            (folder.name, f"{count(len(stray), 'video')} that {ANNOTATIONS} does not name, {stray[0]} first")
        )
    return found


def _problem(event: Event, known: set[str], videos: Mapping[str, Path], part: str) -> str:
    """Why an event is left out; '' where it is not."""
    if event.id in known:
        return f"in {ANNOTATIONS} more than once; taken once"
    if event.end <= event.start:
        return f"in {part}: the event ends at {event.end} s, where it starts or before"
    return "" if event.video in videos else f"in {part}: no AVE/{event.video}.mp4"


def fields(settings: Mapping[str, Any]) -> dict[str, Field]:
    """The arrays of a cache. Waveforms (T,) are 16 kHz in [-1, 1]; spectrograms (1, 257, 1004); frames are RGB."""
    size = settings["frame_size"]
    audio = (RATE * SECONDS,) if settings["backbone"] == "transformers" else (1, 257, 1004)
    return {
        "audio": Field(audio, "float16"),
        "video": Field((settings["frames"], 3, size, size), "uint8"),
        "aspect": Field((), "float32"),
    }


def decode(clip: Clip, settings: Mapping[str, Any]) -> Mapping[str, Array]:
    """The annotated segment alone: its sound repeated to 10 s, and the first `frames` of 10 frames spread evenly over
    it, which are 1 per second where it lasts 10 s. Origin: MCR code, which fills short events up with random frames.
    """
    from mcr_bench.datasets.media.decode import aspect, fit, read_audio, read_frames
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_power, tile

    assert clip.span is not None
    start, end = clip.span
    path = clip.files["video"]
    wave = tile(require_sound(read_audio(path, RATE, start, end - start), path.name), RATE * SECONDS)
    audio = wave if settings["backbone"] == "transformers" else log_power(wave, RATE)[None]
    times = [start + i * (end - start) / SAMPLED for i in range(settings["frames"])]
    frames = read_frames(path, times, pad=True)
    return {
        "audio": audio.astype(np.float16),
        "video": fit(frames, settings["frame_size"]),
        "aspect": np.array(aspect(frames), np.float32),
    }
