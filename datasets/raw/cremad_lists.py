"""Published split lists of CREMA-D, which the user gives: the folds of the MCR paper (JSON), OGM-GE's parts (CSV)."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.raw.folders import walked
from mcr_bench.datasets.raw.lists import name_once, numbered_lines, read_content, read_lists

EMOTIONS = {"NEU": "neutral", "HAP": "happy", "SAD": "sad", "FEA": "fear", "DIS": "disgust", "ANG": "anger"}
FOLDS, TRAIN, TEST = "splits.json", "train.csv", "test.csv"
AGAIN = "Use the list as it was published."
HELD_OUT = 0.1  # of each class of OGM-GE's training part, for validation
NAME = re.compile(r"\d{4}_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", re.ASCII)
ROW = re.compile(rf"{NAME.pattern}(\.\w+)?\s*(,|$)", re.ASCII)
FOLD = re.compile(r"0|[1-9][0-9]{0,8}")
MEDIA = {"videoflash", "audiowav", "audiomp3"}
Parts = dict[str, str]


def clip_id(name: str, where: str) -> str:
    """The id in the name of a clip, with or without folder and suffix; UserError if it is not a name of CREMA-D.

    where: the place of the name, for the message.

    >>> clip_id("AudioWAV/1001_DFA_ANG_XX.wav", "splits.json")
    '1001_DFA_ANG_XX'
    """
    stem = PurePosixPath(name.strip()).stem
    match = NAME.fullmatch(stem)
    if not match:
        raise UserError(f"{where}: '{name}' is not ACTOR_SENTENCE_EMOTION_LEVEL, such as 1001_DFA_ANG_XX. {AGAIN}")
    if match[1] not in EMOTIONS:
        raise UserError(f"{where}: {unknown('emotion', match[1], EMOTIONS)} {AGAIN}")
    return stem


def read(source: Path, splits: Sequence[Path], problems: list[tuple[str, str]]) -> dict[str, bytes]:
    """Name -> content of the lists that the user gives as `splits`, and of other lists anywhere in `source`.

    Files in `source` with the name of a list but another content, and folders that cannot be read, are added to
    `problems`. UserError for such a file among `splits` or directly in `source`, where lists belong, for a list that is
    damaged, and for two different lists of one name in `source`.
    """
    given: dict[str, Path] = {}
    for path in splits:
        name_once(given, _kind(path), path)
    lists: dict[str, Path] = {}
    for path in _candidates(source, problems):
        kind = path.name.lower()
        if kind in given:
            continue
        if foreign := _foreign(kind, path):
            if path.parent == source:
                raise UserError(f"'{path}' {foreign}. Fix or delete it, or give the list to use: --splits FILE.")
            problems.append((str(path.relative_to(source)), f"{foreign}; ignored"))
            continue
        if kind in lists and lists[kind].read_bytes() != path.read_bytes():
            raise UserError(f"'{lists[kind]}' and '{path}' differ. Give the one to use: --splits FILE.")
        lists.setdefault(kind, path)
    return read_lists(dict(sorted((lists | given).items())))


def folds(content: bytes) -> dict[int, Parts]:
    """Fold -> clip id -> train, val or test.

    >>> folds(b'{"1": {"train": ["1001_DFA_ANG_XX.wav"], "val": [], "test": ["1002_DFA_SAD_XX"]}}')
    {1: {'1001_DFA_ANG_XX': 'train', '1002_DFA_SAD_XX': 'test'}}
    """
    table = _json(content)
    if not _is_folds(table):
        raise UserError(
            f"{FOLDS}: expected fold numbers, in each of them train, val and test, and in these names of clips. {AGAIN}"
        )
    return {int(fold): _fold(f"{FOLDS}, fold {fold}", parts) for fold, parts in sorted(table.items())}


def parts(lists: Mapping[str, bytes]) -> Parts:
    """Clip id -> train, val or test, from OGM-GE's two lists; validation is a tenth of each class of the training part.

    These are the clips with the smallest hashes of their ids, so that nothing is random and the order of the lines does
    not matter.
    """
    part_of = dict.fromkeys(_rows(TRAIN, lists[TRAIN]), "train")
    for clip in _rows(TEST, lists[TEST]):
        if clip in part_of:
            raise UserError(f"{TEST} lists {clip}, which is also in {TRAIN}. {AGAIN}")
        part_of[clip] = "test"
    for emotion in EMOTIONS:
        clips = [clip for clip, part in part_of.items() if part == "train" and emotion_of(clip) == emotion]
        ordered = sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())
        part_of |= dict.fromkeys(ordered[: round(len(ordered) * HELD_OUT)], "val")
    return part_of


def emotion_of(clip: str) -> str:
    """The emotion in an id.

    >>> emotion_of("1001_DFA_ANG_XX")
    'ANG'
    """
    return clip.split("_")[2]


def sentence_of(clip: str) -> str:
    """The actor and the sentence in an id.

    >>> sentence_of("1001_DFA_ANG_XX")
    '1001_DFA'
    """
    return "_".join(clip.split("_")[:2])


def listed_clips(lists: Mapping[str, bytes]) -> dict[str, list[str]]:
    """List -> the sorted ids of its clips; UserError that gives the place in the list if an entry is wrong."""
    clips = {}
    if FOLDS in lists:
        clips[FOLDS] = sorted(set().union(*folds(lists[FOLDS]).values()))
    for name in {TRAIN, TEST} & lists.keys():
        clips[name] = sorted(set(_rows(name, lists[name])))
    return clips


def _rows(name: str, content: bytes) -> Iterator[str]:
    """The ids in lines CLIP,EMOTION; UserError for an unknown class, a class of another clip, and a repeated clip."""
    line_of: dict[str, int] = {}
    for number, line in numbered_lines(content):
        where = f"{name}, line {number}"
        text, _, emotion = line.partition(",")
        emotion = emotion.strip()
        if emotion not in EMOTIONS:
            raise UserError(f"{where}: {unknown('class', emotion, EMOTIONS)} {AGAIN}")
        clip = clip_id(text, where)
        if emotion_of(clip) != emotion:
            raise UserError(f"{where}: class {emotion}, but the name of {clip} says {emotion_of(clip)}. {AGAIN}")
        if line_of.setdefault(clip, number) != number:
            raise UserError(f"{where}: {clip} is already in line {line_of[clip]}. {AGAIN}")
        yield clip


def _fold(where: str, table: Mapping[str, Iterable[str]]) -> Parts:
    part_of: Parts = {}
    for part, names in table.items():
        for number, name in enumerate(names, 1):
            clip = clip_id(name, f"{where}, {part}, entry {number}")
            if clip in part_of:
                places = f"in {part_of[clip]} and in {part}" if part_of[clip] != part else f"twice in {part}"
                raise UserError(f"{where}: {clip} is {places}. {AGAIN}")
            part_of[clip] = part
    return part_of


def _json(content: bytes) -> object:
    """The JSON value of a list; UserError if it is not JSON, or if an object has a key twice."""
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{FOLDS} is not JSON ({error}). {AGAIN}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:
            raise UserError(f"{FOLDS} has '{key[:80]}' twice. {AGAIN}")
        members[key] = value
    return members


def _is_folds(table: object) -> TypeGuard[dict[str, dict[str, list[str]]]]:
    """Whether a JSON value has the form of the folds, whatever the names of the clips are."""
    return (
        isinstance(table, dict)
        and bool(table)
        and all(FOLD.fullmatch(fold) and isinstance(parts, dict) for fold, parts in table.items())
        and all(set(parts) == {"train", "val", "test"} for parts in table.values())
        and all(isinstance(names, list) for parts in table.values() for names in parts.values())
        and all(isinstance(name, str) for parts in table.values() for names in parts.values() for name in names)
    )


def _candidates(source: Path, problems: list[tuple[str, str]]) -> Iterator[Path]:
    """Files anywhere in `source` with the name of a list, those of upper folders first; media are not searched."""

    def report(error: OSError) -> None:
        place = Path(error.filename).relative_to(source)
        problems.append((f"{place}/", f"cannot be read ({error.strerror}): it is not searched for lists"))

    for folder, inner, files in walked(source, report):
        inner[:] = sorted(name for name in inner if name.lower() not in MEDIA and not name.startswith("."))
        yield from (folder / name for name in sorted(files) if name.lower() in (FOLDS, TRAIN, TEST))


def _foreign(kind: str, path: Path) -> str:
    """Why a file with the name of a list is not one; '' for a list, UserError for a damaged list.

    A file that contains names of clips, as a list does, is considered to be a list.
    """
    content = read_content(path)
    try:
        if kind == FOLDS:
            if not _is_folds(_json(content)) and not NAME.search(content.decode("utf-8-sig")):
                return "has no folds of CREMA-D"
            folds(content)
        elif not any(ROW.match(line) for _, line in numbered_lines(content)):
            return "has no line with a clip of CREMA-D"
        else:
            list(_rows(kind, content))
    except UnicodeDecodeError:
        return "is not text in UTF-8"
    except UserError as error:
        other = "If it is not a list of CREMA-D, rename it, or give the list to use: --splits FILE."
        raise UserError(f"'{path}': {error} {other}") from error
    return ""


def _kind(path: Path) -> str:
    """Which list a file of the user is: JSON holds the folds, CSV is recognised by its name."""
    if not path.is_file():
        raise UserError(f"'{path}' is not a file. Give the path of {FOLDS}, {TRAIN} or {TEST}.")
    kinds = {"json": FOLDS, "train": TRAIN, "test": TEST}
    name = path.name.lower()
    for word, kind in kinds.items():
        if word in name:
            return kind
    raise UserError(f"'{path}' does not have the name of a list. Rename it to {FOLDS}, {TRAIN} or {TEST}.")
