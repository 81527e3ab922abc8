"""The raw folder of UCF101: which clips of the 51 classes with audio are there, their folds, and their rows."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, numbered_lines, read_lists, repeated
from mcr_bench.datasets.raw.raw_files import VIDEO, MediaFiles, count

VIDEOS, LISTS, INDEX = "UCF-101", "ucfTrainTestlist", "classInd.txt"
FOLDS = (1, 2, 3)
LAYOUT = (
    "SOURCE/\n"
    f"  {VIDEOS}/CLASS/v_CLASS_gNN_cNN.avi\n"
    f"  {LISTS}/{INDEX}                           number and name of the 101 classes\n"
    f"  {LISTS}/trainlist0K.txt, testlist0K.txt   CLASS/v_CLASS_gNN_cNN.avi, for folds K = 1, 2, 3"
)
# The classes that UCF50 does not have: the clips of UCF50 carry no sound. In the order of classInd.txt, which is
# alphabetical whatever the letter case.
CLASSES = (
    *("ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching", "BasketballDunk"),
    *("BlowDryHair", "BlowingCandles", "BodyWeightSquats", "Bowling", "BoxingPunchingBag", "BoxingSpeedBag"),
    *("BrushingTeeth", "CliffDiving", "CricketBowling", "CricketShot", "CuttingInKitchen", "FieldHockeyPenalty"),
    *("FloorGymnastics", "FrisbeeCatch", "FrontCrawl", "Haircut", "Hammering", "HammerThrow", "HandstandPushups"),
    *("HandstandWalking", "HeadMassage", "IceDancing", "Knitting", "LongJump", "MoppingFloor", "ParallelBars"),
    *("PlayingCello", "PlayingDaf", "PlayingDhol", "PlayingFlute", "PlayingSitar", "Rafting", "ShavingBeard"),
    *("Shotput", "SkyDiving", "SoccerPenalty", "StillRings", "SumoWrestling", "Surfing", "TableTennisShot", "Typing"),
    *("UnevenBars", "WallPushups", "WritingOnBoard"),
)
AGAIN = "Take the list from UCF101's own download."
HELD_OUT = 0.1
VERSION = 1
RATE, SECONDS = 16000, 3
NUMBER = re.compile(r"[0-9]{1,9}")
NAME = re.compile(rf"v_([a-z]+)_g(\d+)_c(\d+)(?:{'|'.join(map(re.escape, VIDEO))})", re.IGNORECASE)


class Key(NamedTuple):
    """A clip by class, group and number. The class is in lower case: HandstandPushups holds v_HandStandPushups_*."""

    label: str
    group: int
    number: int


NAMES = {name.lower(): name for name in CLASSES}


def clip_id(key: Key) -> str:
    """v_CLASS_gNN_cNN, with the class as classInd.txt spells it."""
    return f"v_{NAMES[key.label]}_g{key.group:02}_c{key.number:02}"


def group_id(key: Key) -> str:
    """CLASS_gNN: groups are numbered anew in every class."""
    return f"{NAMES[key.label]}_g{key.group:02}"


def class_index(content: bytes) -> dict[str, int]:
    """Name of every class in lower case -> number; UserError unless the lines are number and name, each once, and hold
    the 51.
    """
    found: dict[str, int] = {}
    for number, line in numbered_lines(content):
        match line.split():
            case [at, name] if NUMBER.fullmatch(at):
                if name.lower() in found or int(at) in found.values():
                    raise UserError(f"{INDEX}, line {number}: '{line}' has a number or class of a line before. {AGAIN}")
                found[name.lower()] = int(at)
            case _:
                raise UserError(f"{INDEX}, line {number}: '{line}' is not number and class. {AGAIN}")
    missing = [name for name in CLASSES if name.lower() not in found]
    if missing:
        raise UserError(f"{INDEX} has no class {', '.join(missing)}. {AGAIN}")
    return found


def read_list(name: str, content: bytes, classes: Mapping[str, int]) -> list[Key]:
    """The clips that a list names, of all classes; UserError with the line where one cannot be understood, or where
    the number after the clip is not that of its class.
    """
    found = []
    for number, line in numbered_lines(content):
        path, *rest = line.split()
        folder, _, file = path.replace("\\", "/").rpartition("/")
        match = NAME.fullmatch(file)
        if not match or match[1].lower() != folder.lower():
            raise UserError(f"{name}, line {number}: '{line}' is not CLASS/v_CLASS_gNN_cNN.avi. {AGAIN}")
        if folder.lower() not in classes:
            raise UserError(f"{name}, line {number}: {unknown('class of UCF101', folder, CLASSES)} {AGAIN}")
        if rest and (len(rest) > 1 or not NUMBER.fullmatch(rest[0]) or int(rest[0]) != classes[folder.lower()]):
            raise UserError(
                f"{name}, line {number}: '{line}' does not end with {classes[folder.lower()]}, "
                f"the number of its class in {INDEX}. {AGAIN}"
            )
        found.append(Key(match[1].lower(), int(match[2]), int(match[3])))
    return found


def list_names(fold: int) -> dict[str, str]:
    """train and test -> the name of the list."""
    return {part: f"{part}list0{fold}.txt" for part in ("train", "test")}


def folds(lists: Collection[str]) -> tuple[int, ...]:
    """Those whose two lists are there."""
    return tuple(fold for fold in FOLDS if all(name in lists for name in list_names(fold).values()))


def fold_lists(fold: int, lists: Mapping[str, bytes]) -> dict[str, list[Key]]:
    """train and test -> clips of the 51 classes; UserError for a clip that both lists name."""
    classes, names = class_index(lists[INDEX]), list_names(fold)
    found = {part: read_list(name, lists[name], classes) for part, name in names.items()}
    both = set(found["train"]) & set(found["test"])
    if both:
        raise UserError(f"{names['train']} and {names['test']} both name clip {tuple(min(both))}. {AGAIN}")
    return {part: [key for key in keys if key.label in NAMES] for part, keys in found.items()}


def parts(fold: int, content: Mapping[str, bytes]) -> dict[str, str]:
    """Clip id -> train, val or test; validation is a tenth of the training groups."""
    lists = fold_lists(fold, content)
    held = held_out(fold, {(key.label, key.group) for key in lists["train"]})
    part = {clip_id(key): "val" if (key.label, key.group) in held else "train" for key in lists["train"]}
    return part | {clip_id(key): "test" for key in lists["test"]}


def held_out(fold: int, groups: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """A tenth of the groups (class, number), stratified: of n groups of a class n / 10, rounded down or up so that
    the sum fits, but at least one and never all. Which ones is drawn by SHA-256 of fold, class and number.
    """
    members: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: _draw(fold, *group)):
        members[group[0]].append(group)
    share = {label: HELD_OUT * len(found) for label, found in members.items()}
    take = {label: max(1, int(share[label])) for label in members}
    wanted = round(HELD_OUT * len(groups)) - sum(take.values())
    for label in sorted(members, key=lambda label: (take[label] - share[label], _draw(fold, label)))[: max(wanted, 0)]:
        take[label] += 1
    return {group for label, found in members.items() for group in found[: min(take[label], len(found) - 1)]}


def _draw(*of: object) -> str:
    return hashlib.sha256(" ".join(map(str, of)).encode()).hexdigest()


def scan(source: Path, splits: Sequence[Path]) -> Scan:
    """Every clip of the 51 classes that is there; UserError where the folder or a list is not UCF101's."""
    names = (INDEX, *(name for fold in FOLDS for name in list_names(fold).values()))
    inside = by_lower_name(source)
    videos, listed = inside.get(VIDEOS.lower(), source / VIDEOS), inside.get(LISTS.lower(), source / LISTS)
    files = list_files(listed, names, splits)
    known = folds(files) if INDEX in files else ()
    if not known or not videos.is_dir():
        lacking = f"no {VIDEOS}" if known else f"no {INDEX} with trainlist0K.txt and testlist0K.txt of a fold"
        raise UserError(f"'{source}' has {lacking}. Expected:\n{LAYOUT}")
    found = Scan([], lists=read_lists(files))
    named: set[Key] = set()
    for fold in known:
        for part, keys in fold_lists(fold, found.lists).items():
            found.problems += repeated(list_names(fold)[part], map(clip_id, keys))
            named.update(keys)
    clips = _clips(videos, class_index(found.lists[INDEX]), found)
    for key, path in sorted(clips.items(), key=lambda item: clip_id(item[0])):
        label = CLASSES.index(NAMES[key.label])
        found.clips.append(Clip(clip_id(key), label, group_id(key), {"video": path}))
    absent = sorted({clip_id(key) for key in named - clips.keys()})
    found.problems += [(name, f"listed, but there is no such file in {VIDEOS}") for name in absent]
    return found


def _clips(videos: Path, classes: Collection[str], found: Scan) -> dict[Key, Path]:
    """The clips of the 51 classes; folders and files that do not belong there are problems or notes of `found`."""
    clips: dict[Key, Path] = {}
    media, others = MediaFiles(".avi", VIDEO), {}
    loose = media.files(videos)
    for folder in sorted(path for path in videos.iterdir() if path.is_dir() and path.name not in media.frames):
        if folder.name.lower() not in classes:
            found.problems.append((folder.name, f"no class of {INDEX}; left out"))
        elif folder.name.lower() in NAMES:
            for path in media.files(folder):
                _file_away(path, clips, found.problems)
        else:
            others[folder.name] = len(MediaFiles(".avi", VIDEO).files(folder))
    found.notes += media.notes(VIDEOS, clips.values())
    if loose:
        found.notes.append((VIDEOS, f"{count(len(loose), 'clip')} outside of the folders of their classes; left out"))
    if number := sum(others.values()):
        found.notes.append(
            (VIDEOS, f"{count(number, 'clip')} of {count(len(others), 'class')} that are not among the 51; left out")
        )
    return clips


def _file_away(path: Path, clips: dict[Key, Path], problems: list[tuple[str, str]]) -> None:
    place = f"{path.parent.name}/{path.name}"
    match = NAME.fullmatch(path.name)
    if not match or match[1].lower() != path.parent.name.lower():
        problems.append((place, f"is not named v_{path.parent.name}_gNN_cNN.avi; left out"))
        return
    key = Key(match[1].lower(), int(match[2]), int(match[3]))
    if key in clips:
        problems.append((place, f"the same clip as {clips[key].name}; left out"))
    else:
        clips[key] = path


def fields(settings: Mapping[str, Any]) -> dict[str, Field]:
    """The arrays of a cache: spectrograms (1, 257, 136), RGB frames (frames, 3, size, size), and their aspect."""
    size = settings["frame_size"]
    return {
        "audio": Field((1, 257, 136), "float16"),
        "video": Field((settings["frames"], 3, size, size), "uint8"),
        "aspect": Field((), "float32"),
    }


def decode(clip: Clip, settings: Mapping[str, Any]) -> Mapping[str, Array]:
    """The frames at 0, 1, 2, ... s, and the log magnitude of the first 3 s of sound. Sound that ends a little before
    the frames is repeated to the length. Origin: MCR code, which takes every n-th frame for n whole frames per second.
    """
    from mcr_bench.datasets.media.decode import aspect, fit, read_audio, read_frames
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

    path = clip.files["video"]
    wave = tile(require_sound(read_audio(path, RATE, 0.0, SECONDS), path.name), RATE * SECONDS)
    frames = read_frames(path, range(settings["frames"]))
    return {
        "audio": log_magnitude(wave)[None].astype(np.float16),
        "video": fit(frames, settings["frame_size"]),
        "aspect": np.array(aspect(frames), np.float32),
    }
