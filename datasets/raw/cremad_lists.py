"""Published split lists of CREMA-D, brought by the user: the folds of the MCR paper (JSON) and OGM-GE's parts (CSV)."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.raw.lists import name_once, numbered_lines, read_content, read_lists

EMOTIONS = {"NEU": "neutral", "HAP": "happy", "SAD": "sad", "FEA": "fear", "DIS": "disgust", "ANG": "anger"}
Folds = dict[str, dict[str, list[str]]]  # fold -> part -> names of clips
FOLDS, TRAIN, TEST = "splits.json", "train.csv", "test.csv"
AGAIN = "Take the list as it was published."
HELD_OUT = 0.1  # of each class of OGM-GE's training part
NAME = re.compile(r"\d{4}_[A-Z]{3}_([A-Z]{3})_[A-Z]{1,2}", re.ASCII)
ROW = re.compile(rf"{NAME.pattern}(\.\w+)?\s*(,|$)", re.ASCII)
FOLD = re.compile(r"0|[1-9][0-9]{0,8}")
MEDIA = {"videoflash", "audiowav", "audiomp3"}
Parts = dict[str, str]


def clip_id(name: str, where: str) -> str:
    """The id in a clip's name, with or without folder and suffix; UserError where it is no name of CREMA-D."""
    stem = PurePosixPath(name.strip()).stem
    found = NAME.fullmatch(stem)
    if not found:
        raise UserError(f"{where}: '{name}' is not ACTOR_SENTENCE_EMOTION_LEVEL, as 1001_DFA_ANG_XX. {AGAIN}")
    if found[1] not in EMOTIONS:
        raise UserError(f"{where}: {unknown('emotion', found[1], EMOTIONS)} {AGAIN}")
    return stem


def read(source: Path, splits: Sequence[Path], problems: list[tuple[str, str]]) -> dict[str, bytes]:
    """Name -> content of the lists among the user's `splits` and anywhere in `source`; the former win.

    What is called like a list in `source` and is another thing, and what cannot be looked into, enters `problems`.
    UserError for such a file among `splits` or in `source` itself, where a list is meant to lie, for a list that is
    damaged, and for two different lists of one name in `source`.
    """
    named: dict[str, Path] = {}
    for path in splits:
        name_once(named, _kind(path), path)
    found: dict[str, Path] = {}
    for path in _candidates(source, problems):
        kind = path.name.lower()
        if kind in named:
            continue
        if foreign := _foreign(kind, path):
            if path.parent == source:
                raise UserError(f"'{path}' {foreign}. Mend or remove it, or name the list to use: --splits FILE.")
            problems.append((str(path.relative_to(source)), f"{foreign}; passed over"))
            continue
        if kind in found and found[kind].read_bytes() != path.read_bytes():
            raise UserError(f"'{found[kind]}' and '{path}' differ. Name the one to use: --splits FILE.")
        found.setdefault(kind, path)
    return read_lists(dict(sorted((found | named).items())))


def folds(content: bytes) -> dict[int, Parts]:
    """Fold -> clip id -> train, val or test, of {"1": {"train": ["1001_DFA_ANG_XX.wav", ...], ...}, ...}."""
    table = _json(content)
    if not _is_folds(table):
        raise UserError(
            f"{FOLDS}: expected fold numbers, in each of them train, val and test, and in these names. {AGAIN}"
        )
    return {int(fold): _fold(f"{FOLDS}, fold {fold}", parts) for fold, parts in sorted(table.items())}


def parts(lists: Mapping[str, bytes]) -> Parts:
    """Clip id -> train, val or test, of OGM-GE's two lists: validation is a tenth of each class of the training part.

    It is the clips whose ids have the smallest hashes, so that nothing is drawn and the order of lines does not matter.
    """
    found = dict.fromkeys(_rows(TRAIN, lists[TRAIN]), "train")
    for clip in _rows(TEST, lists[TEST]):
        if clip in found:
            raise UserError(f"{TEST} names {clip}, which is in {TRAIN} too. {AGAIN}")
        found[clip] = "test"
    for emotion in EMOTIONS:
        clips = [clip for clip, part in found.items() if part == "train" and emotion_of(clip) == emotion]
        held = sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())
        found |= dict.fromkeys(held[: round(len(held) * HELD_OUT)], "val")
    return found


def emotion_of(clip: str) -> str:
    """The emotion in an id: 1001_DFA_ANG_XX -> ANG."""
    return clip.split("_")[2]


def named(lists: Mapping[str, bytes]) -> dict[str, list[str]]:
    """List -> the clips that it names, sorted; UserError with the place in the list where one is wrong."""
    found = {}
    if FOLDS in lists:
        found[FOLDS] = sorted(set().union(*folds(lists[FOLDS]).values()))
    for name in {TRAIN, TEST} & lists.keys():
        found[name] = sorted(set(_rows(name, lists[name])))
    return found


def _rows(name: str, content: bytes) -> Iterator[str]:
    """The ids of lines CLIP,EMOTION; UserError for a class that is none or not that of the clip, and a clip again."""
    seen: dict[str, int] = {}
    for number, line in numbered_lines(content):
        where = f"{name}, line {number}"
        clip, _, emotion = line.partition(",")
        emotion = emotion.strip()
        if emotion not in EMOTIONS:
            raise UserError(f"{where}: {unknown('class', emotion, EMOTIONS)} {AGAIN}")
        found = clip_id(clip, where)
        if emotion_of(found) != emotion:
            raise UserError(f"{where}: class {emotion}, but the name of {found} says {emotion_of(found)}. {AGAIN}")
        if seen.setdefault(found, number) != number:
            raise UserError(f"{where}: {found} is in line {seen[found]} already. {AGAIN}")
        yield found


def _fold(where: str, table: Mapping[str, Iterable[str]]) -> Parts:
    found: Parts = {}
    for part, names in table.items():
        for number, name in enumerate(names, 1):
            clip = clip_id(name, f"{where}, {part}, entry {number}")
            if clip in found:
                places = f"in {found[clip]} and in {part}" if found[clip] != part else f"twice in {part}"
                raise UserError(f"{where}: {clip} is {places}. {AGAIN}")
            found[clip] = part
    return found


def _json(content: bytes) -> object:
    """The value of a list in JSON; UserError where it is none, or names something twice."""
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{FOLDS} is no JSON ({error}). {AGAIN}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{FOLDS} has '{key[:80]}' twice. {AGAIN}")
        found[key] = value
    return found


def _is_folds(table: object) -> TypeGuard[Folds]:
    """Whether a JSON value has the shape of the folds, whatever the names of clips are."""
    return (
        isinstance(table, dict)
        and bool(table)
        and all(FOLD.fullmatch(fold) and isinstance(parts, dict) for fold, parts in table.items())
        and all(set(parts) == {"train", "val", "test"} for parts in table.values())
        and all(isinstance(names, list) for parts in table.values() for names in parts.values())
        and all(isinstance(name, str) for parts in table.values() for names in parts.values() for name in names)
    )


def _candidates(source: Path, problems: list[tuple[str, str]]) -> Iterator[Path]:
    """Files below `source` that are called like a list, those of the upper folders first; media are not looked at."""

    def report(error: OSError) -> None:
        place = Path(error.filename).relative_to(source)
        problems.append((f"{place}/", f"cannot be read ({error.strerror}): lists in it are not found"))

    for folder, inner, files in os.walk(source, onerror=report):
        inner[:] = sorted(name for name in inner if name.lower() not in MEDIA and not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if name.lower() in (FOLDS, TRAIN, TEST))


def _foreign(kind: str, path: Path) -> str:
    """Why a file of `source` that is called like a list is another thing; '' for a list, UserError for a damaged one.

    What names clips as a list does is meant for one.
    """
    content = read_content(path)
    try:
        if kind == FOLDS:
            if not _is_folds(_json(content)) and not NAME.search(content.decode("utf-8-sig")):
                return "has no folds of CREMA-D"
            folds(content)
        elif not any(ROW.match(line) for _, line in numbered_lines(content)):
            return "no line names a clip of CREMA-D"
        else:
            list(_rows(kind, content))
    except UnicodeDecodeError:
        return "is no text in UTF-8"
    except UserError as error:
        other = "If it is no list of CREMA-D, rename it, or name the list to use: --splits FILE."
        raise UserError(f"'{path}': {error} {other}") from error
    return ""


def _kind(path: Path) -> str:
    """Which list a file of the user's is: JSON the folds, CSV by its name."""
    if not path.is_file():
        raise UserError(f"'{path}' is no file. Give the path of {FOLDS}, {TRAIN} or {TEST}.")
    kinds = {"json": FOLDS, "train": TRAIN, "test": TEST}
    name = path.name.lower()
    for word, kind in kinds.items():
        if word in name:
            return kind
    raise UserError(f"'{path}': which list is it? Call it {FOLDS}, {TRAIN} or {TEST}.")
