"""The raw folder of UCF101: the clips of the 51 classes with sound, their folds, and how a clip becomes a row."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Field, Scan, Settings
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, numbered_lines, read_lists, repeated
from mcr_bench.datasets.raw.raw_files import VIDEO, MediaFiles, count
from mcr_bench.datasets.raw.sound_and_frames import row_of, sound_and_frames

VIDEOS, LISTS, INDEX = "UCF-101", "ucfTrainTestlist", "classInd.txt"
FOLDS = (1, 2, 3)
LAYOUT = (
    "SOURCE/\n"
    f"  {VIDEOS}/CLASS/v_CLASS_gNN_cNN.avi\n"
    f"  {LISTS}/{INDEX}                           number and name of the 101 classes\n"
    f"  {LISTS}/trainlist0K.txt, testlist0K.txt   CLASS/v_CLASS_gNN_cNN.avi, for folds K = 1, 2, 3"
)
# The classes that are not in UCF50, whose clips have no sound. They are in the order of classInd.txt, which is
# alphabetical without regard to letter case.
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
# The classes of UCF50.
UCF50 = (
    *("BaseballPitch", "Basketball", "BenchPress", "Biking", "Billiards", "BreastStroke", "CleanAndJerk"),
    *("Diving", "Drumming", "Fencing", "GolfSwing", "HighJump", "HorseRace", "HorseRiding", "HulaHoop"),
    *("JavelinThrow", "JugglingBalls", "JumpingJack", "JumpRope", "Kayaking", "Lunges", "MilitaryParade"),
    *("Mixing", "Nunchucks", "PizzaTossing", "PlayingGuitar", "PlayingPiano", "PlayingTabla", "PlayingViolin"),
    *("PoleVault", "PommelHorse", "PullUps", "Punch", "PushUps", "RockClimbingIndoor", "RopeClimbing", "Rowing"),
    *("SalsaSpin", "SkateBoarding", "Skiing", "Skijet", "SoccerJuggling", "Swing", "TaiChi", "TennisSwing"),
    *("ThrowDiscus", "TrampolineJumping", "VolleyballSpiking", "WalkingWithDog", "YoYo"),
)
ALL = tuple(sorted((*CLASSES, *UCF50), key=str.lower))  # the order of classInd.txt
AGAIN = "Use the list from UCF101's own download."
HELD_OUT = 0.1
VERSION = 1
RATE, SECONDS = 16000, 3
NUMBER = re.compile(r"[0-9]{1,9}")
NAME = re.compile(rf"v_([a-z]+)_g(\d+)_c(\d+)(?:{'|'.join(map(re.escape, VIDEO))})", re.IGNORECASE)


class Key(NamedTuple):
    """A clip.

    label: its class in lower case, because the folder HandstandPushups holds v_HandStandPushups_*.
    group: the number of its group.
    number: its number in the group.
    """

    label: str
    group: int
    number: int


NAMES = {name.lower(): name for name in ALL}


def clip_id(key: Key) -> str:
    """The id of a clip, with the class as classInd.txt spells it.

    >>> clip_id(Key("handstandpushups", 1, 7))
    'v_HandstandPushups_g01_c07'
    """
    return f"v_{NAMES[key.label]}_g{key.group:02}_c{key.number:02}"


def group_id(key: Key) -> str:
    """The group of a clip with its class, because each class numbers its groups from 1.

    >>> group_id(Key("archery", 12, 3))
    'Archery_g12'
    """
    return f"{NAMES[key.label]}_g{key.group:02}"


def class_index(content: bytes, needed: Collection[str] = CLASSES) -> dict[str, int]:
    """Name of each class in lower case -> its number, from classInd.txt.

    UserError unless each line is a number and a name that occur once, and the `needed` classes are complete.
    """
    index: dict[str, int] = {}
    for number, line in numbered_lines(content):
        match line.split():
            case [at, name] if NUMBER.fullmatch(at):
                if name.lower() in index or int(at) in index.values():
                    raise UserError(
                        f"{INDEX}, line {number}: '{line}' has the number or class of an earlier line. {AGAIN}"
                    )
                index[name.lower()] = int(at)
            case _:
                raise UserError(f"{INDEX}, line {number}: '{line}' is not a number and a class. {AGAIN}")
    missing = [name for name in needed if name.lower() not in index]
    if missing:
        raise UserError(f"{INDEX} has no class {', '.join(missing)}. {AGAIN}")
    return index


def read_list(name: str, content: bytes, classes: Mapping[str, int]) -> list[Key]:
    """The clips of all classes in a list.

    name: the name of the list, for messages. classes: name in lower case -> number. UserError that gives the line if it
    cannot be understood, or if the number after the clip is not that of its class.
    """
    keys = []
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
        keys.append(Key(match[1].lower(), int(match[2]), int(match[3])))
    return keys


def list_names(fold: int) -> dict[str, str]:
    """The names of the two lists of a fold.

    >>> list_names(2)
    {'train': 'trainlist02.txt', 'test': 'testlist02.txt'}
    """
    return {part: f"{part}list0{fold}.txt" for part in ("train", "test")}


def folds(lists: Collection[str]) -> tuple[int, ...]:
    """The folds with both of their lists among the available `lists`."""
    return tuple(fold for fold in FOLDS if all(name in lists for name in list_names(fold).values()))


def fold_lists(fold: int, lists: Mapping[str, bytes], used: Collection[str] = CLASSES) -> dict[str, list[Key]]:
    """train and test -> clips of the classes that are `used`; UserError for a clip that is in both lists."""
    classes, names = class_index(lists[INDEX], used), list_names(fold)
    wanted = {name.lower() for name in used}
    clips = {part: read_list(name, lists[name], classes) for part, name in names.items()}
    both = set(clips["train"]) & set(clips["test"])
    if both:
        raise UserError(f"{names['train']} and {names['test']} both list clip {tuple(min(both))}. {AGAIN}")
    return {part: [key for key in keys if key.label in wanted] for part, keys in clips.items()}


def parts(fold: int, content: Mapping[str, bytes], used: Collection[str] = CLASSES) -> dict[str, str]:
    """Clip id -> train, val or test; validation is a tenth of the training groups.

    content: name -> content of the lists.
    """
    lists = fold_lists(fold, content, used)
    held = held_out(fold, {(key.label, key.group) for key in lists["train"]})
    part = {clip_id(key): "val" if (key.label, key.group) in held else "train" for key in lists["train"]}
    return part | {clip_id(key): "test" for key in lists["test"]}


def held_out(fold: int, groups: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    """A tenth of the groups (class, number), stratified by class.

    Of n groups of a class n / 10 are held out, rounded down or up so that the sum is right, but at least one and never
    all. They are chosen by the SHA-256 of fold, class and number.
    """
    members: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: _hash(fold, *group)):
        members[group[0]].append(group)
    share = {label: HELD_OUT * len(of_class) for label, of_class in members.items()}
    take = {label: max(1, int(share[label])) for label in members}
    wanted = round(HELD_OUT * len(groups)) - sum(take.values())
    for label in sorted(members, key=lambda label: (take[label] - share[label], _hash(fold, label)))[: max(wanted, 0)]:
        take[label] += 1
    return {group for label, of_class in members.items() for group in of_class[: min(take[label], len(of_class) - 1)]}


def _hash(*of: object) -> str:
    return hashlib.sha256(" ".join(map(str, of)).encode()).hexdigest()


def scan(source: Path, splits: Sequence[Path], used: Sequence[str] = CLASSES) -> Scan:
    """Every available clip of the classes that are `used`; UserError if the folder or a list is not UCF101's."""
    videos = by_lower_name(source).get(VIDEOS.lower(), source / VIDEOS)
    lists = lists_of(source, splits)
    if not videos.is_dir():
        raise UserError(f"'{source}' has no {VIDEOS}. Expected:\n{LAYOUT}")
    result = Scan([], lists=lists)
    clips = _clips(videos, class_index(lists[INDEX], used), {name.lower() for name in used}, result)
    return completed(result, {key: {"video": path} for key, path in clips.items()}, used, VIDEOS)


def listed_clips(source: Path, splits: Sequence[Path], used: Sequence[str] = CLASSES) -> Scan:
    """Every clip of the used classes in the lists of a folder, or of its folder of lists, as if all were available."""
    lists = lists_of(source, splits)
    keys = {key for fold in folds(lists) for of in fold_lists(fold, lists, used).values() for key in of}
    return Scan([_clip(key, {}, used) for key in sorted(keys, key=clip_id)], lists=lists)


def lists_of(source: Path, splits: Sequence[Path]) -> dict[str, bytes]:
    """Name -> content of the lists in a folder or in its folder of lists; UserError unless a fold is complete."""
    folder = by_lower_name(source).get(LISTS.lower(), source)
    files = list_files(folder, (INDEX, *(name for fold in FOLDS for name in list_names(fold).values())), splits)
    if INDEX not in files or not folds(files):
        missing = f"no {INDEX} with trainlist0K.txt and testlist0K.txt of a fold"
        raise UserError(f"'{source}' has {missing}. Expected:\n{LAYOUT}")
    return read_lists(files)


def completed(scan: Scan, clips: Mapping[Key, Mapping[str, Path]], used: Sequence[str], place: str) -> Scan:
    """The scan with its clips (clip -> role -> file) in the order of ids, and with what its lists repeat or lack.

    used: the classes in the order of their indices. place: the folder of the clips, for messages.
    """
    listed: set[Key] = set()
    for fold in folds(scan.lists):
        for part, keys in fold_lists(fold, scan.lists, used).items():
            scan.problems += repeated(list_names(fold)[part], map(clip_id, keys))
            listed.update(keys)
    scan.clips = [_clip(key, clips[key], used) for key in sorted(clips, key=clip_id)]
    absent = sorted({clip_id(key) for key in listed - clips.keys()})
    scan.problems += [(name, f"listed, but missing from {place}") for name in absent]
    return scan


def key_of(name: str) -> Key | None:
    """The clip in a name without suffix; None for any other name.

    >>> key_of("v_HandStandPushups_g01_c07")
    Key(label='handstandpushups', group=1, number=7)
    """
    match = NAME.fullmatch(f"{name}.avi")
    return Key(match[1].lower(), int(match[2]), int(match[3])) if match else None


def _clip(key: Key, files: Mapping[str, Path], used: Sequence[str]) -> Clip:
    return Clip(clip_id(key), used.index(NAMES[key.label]), group_id(key), files)


def _clips(videos: Path, classes: Collection[str], wanted: Collection[str], scan: Scan) -> dict[Key, Path]:
    """The clips of the wanted classes (in lower case); other folders and files are added to the problems or notes."""
    clips: dict[Key, Path] = {}
    media, others = MediaFiles(".avi", VIDEO), {}
    loose = media.files(videos)
    for folder in sorted(path for path in videos.iterdir() if path.is_dir() and path.name not in media.frames):
        if folder.name.lower() not in classes:
            scan.problems.append((folder.name, f"not a class of {INDEX}; left out"))
        elif folder.name.lower() in wanted:
            for path in media.files(folder):
                _add_clip(path, clips, scan.problems)
        else:
            others[folder.name] = len(MediaFiles(".avi", VIDEO).files(folder))
    scan.notes += media.notes(VIDEOS, clips.values())
    if loose:
        scan.notes.append((VIDEOS, f"{count(len(loose), 'clip')} outside of the folders of their classes; left out"))
    if number := sum(others.values()):
        clips_of = f"{count(number, 'clip')} of {count(len(others), 'class')}"
        scan.notes.append((VIDEOS, f"{clips_of} that are not among the {len(wanted)}; left out"))
    return clips


def _add_clip(path: Path, clips: dict[Key, Path], problems: list[tuple[str, str]]) -> None:
    """Add a file to the clips, or the reason why it is left out to the problems."""
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


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: log magnitudes (1, 257, 136), frames and aspect."""
    return sound_and_frames((1, 257, 136), settings["frames"], settings["frame_size"])


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: the log magnitude of the first 3 s of sound, and the frames at 0, 1, 2, ... s.

    They are audio (1, 257, 136) float16, video (frames, 3, size, size) uint8 and aspect () float32. Sound that ends
    slightly before the frames is repeated. The MCR code instead uses every n-th frame, for n whole frames per second.
    """
    from mcr_bench.datasets.media.decode import read_audio, read_frames
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

    path = clip.files["video"]
    wave = tile(require_sound(read_audio(path, RATE, 0.0, SECONDS), path.name), RATE * SECONDS)
    frames = read_frames(path, range(settings["frames"]))
    return row_of(log_magnitude(wave)[None], frames, settings["frame_size"])
