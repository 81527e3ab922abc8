"""The raw folder of MVSA-Single: its labels, the lists that others made of them, pictures and texts."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.datasets.media.pictures import PICTURES
from mcr_bench.datasets.raw.lists import by_lower_name, list_files, numbered_lines, read_lists
from mcr_bench.datasets.raw.raw_files import as_lines, count
from mcr_bench.datasets.raw.texts.sources import (
    FEATURES,
    LIST,
    LISTS,
    OWN,
    PICTURE,
    readable_text,
    require_all_lists,
    rows_of,
)
from mcr_bench.datasets.raw.texts.words import vocabulary, vocabulary_list, words_of
from mcr_bench.datasets.sequences.pickles import listed

DATA, LABELS, MERGED = "data", "labelResultAll.txt", "merged.json"
VALIDATION = "val.jsonl"  # another name of dev.jsonl
CLASSES = ("negative", "neutral", "positive")
TENTH = 2**64 // 10
AGAIN = "Use the lists and the labels of one download."
LAYOUT = (
    "SOURCE/\n"
    f"  {DATA}/ID.jpg, {DATA}/ID.txt    the pictures and the texts\n"
    f"  {LABELS}       ID, tabulator, label of the text, comma, label of the picture; first line: ID text,image\n"
    "  train.jsonl, dev.jsonl (or val.jsonl), test.jsonl    optional: id, label, text, img in each line\n"
    "  features/ID.npy          with dataset.text=files: (steps, channels) or (channels,) of each text"
)


class Entry(NamedTuple):
    """A line of a list of JSON lines.

    part: train, val or test.
    label: the class.
    text: the text.
    """

    part: str
    label: str
    text: str


def merged(text: str, image: str) -> str | None:
    """One label of the two of a pair: neutral gives way to another one; None where they contradict each other.

    >>> merged("neutral", "positive"), merged("negative", "negative"), merged("positive", "negative")
    ('positive', 'negative', None)
    """
    told = sorted({text, image} - {"neutral"})
    if len(told) > 1:
        return None
    return told[0] if told else "neutral"


def labels(content: bytes) -> dict[str, tuple[str, str]]:
    """Id -> labels of text and picture; UserError that gives the line if it cannot be understood.

    >>> labels(b"ID" + bytes([9]) + b"text,image" + bytes([10]) + b"7" + bytes([9]) + b"neutral,positive")
    {'7': ('neutral', 'positive')}
    """
    read: dict[str, tuple[str, str]] = {}
    for number, line in numbered_lines(content):
        id_, _, rest = line.partition("\t")
        pair = tuple(part.strip().lower() for part in rest.split(","))
        if number == 1 and pair == ("text", "image"):
            continue
        if len(pair) != 2 or not set(pair) <= {*CLASSES} or not id_.strip():
            raise UserError(
                f"{LABELS}, line {number}: '{line[:80]}' is not ID, tabulator, and two of {', '.join(CLASSES)} with a "
                "comma. Use the file of MVSA-Single's download, not that of MVSA-Multiple."
            )
        if read.setdefault(id_.strip(), (pair[0], pair[1])) != pair:
            raise UserError(f"{LABELS}, line {number}: {id_.strip()} has other labels before. {AGAIN}")
    return read


def entries(lists: Mapping[str, bytes]) -> dict[str, Entry]:
    """Id -> its line in the lists of parts; empty without them; UserError for an id that two lines have."""
    read: dict[str, Entry] = {}
    for name, part in LISTS.items():
        for number, row in rows_of(name, lists.get(name, b""), ("id", "label", "text")):
            id_, label = str(row["id"]), str(row["label"]).lower()
            if label not in CLASSES:
                raise UserError(f"{name}, line {number}: {unknown('label', label, CLASSES)} {AGAIN}")
            if id_ in read:
                raise UserError(f"{name}, line {number}: {id_} is already in {read[id_].part}. {AGAIN}")
            picture = str(row.get("img") or "")
            if picture and PurePosixPath(picture.replace("\\", "/")).stem != id_:
                raise UserError(
                    f"{name}, line {number}: the pair {id_} has the picture '{picture}', but pictures are found by the "
                    f"pair: {DATA}/{id_}.jpg. Write the name of the picture without its ending as the id."
                )
            read[id_] = Entry(part, label, str(row["text"]))
    return read


def read(source: Path, splits: Sequence[Path]) -> tuple[dict[str, bytes], dict[str, Path]]:
    """Name -> content, and name -> path, of the labels and the lists; UserError if neither is complete."""
    given = list_files(source, (LABELS, *LISTS, VALIDATION), splits)
    contents = read_lists(given)
    second = contents.pop(VALIDATION, None)
    if second is not None and contents.setdefault("dev.jsonl", second) != second:
        raise UserError(f"'{given['dev.jsonl']}' and '{given[VALIDATION]}' differ. Keep the one that validates.")
    files = {name: given.get(name, given.get(VALIDATION)) for name in contents}
    require_all_lists(source, contents)
    if not contents:
        raise UserError(f"'{source}' has no {LABELS}, and no train.jsonl. Expected:\n{LAYOUT}")
    return contents, {name: path for name, path in files.items() if path is not None}


def scan(source: Path, splits: Sequence[Path], text: str) -> Scan:
    """The pairs with a label, in the order of ids, and their vocabularies; UserError if the folder is another one.

    text: words, model or files.
    """
    lists, paths = read(source, splits)
    scan, told = _scan(lists), entries(lists)
    places = by_lower_name(source)
    pictures, texts = _files(places.get(DATA, source / DATA))
    given = by_lower_name(places.get(FEATURES, source / FEATURES)) if text == "files" else {}
    kept = []
    for clip in scan.clips:
        files = {PICTURE: pictures.get(clip.id)}
        if text == "files":
            files[FEATURES] = given.get(f"{clip.id.lower()}.npy")
        elif clip.id in told:
            files[LIST] = paths[next(name for name, part in LISTS.items() if part == told[clip.id].part)]
        else:
            files[OWN] = texts.get(clip.id)
        if missing := [role for role, path in files.items() if path is None]:
            scan.problems.append((clip.id, f"no {' and no '.join(_place(role, clip.id) for role in missing)}"))
        else:
            whole = {role: path for role, path in files.items() if path is not None}
            kept.append(Clip(clip.id, clip.label, clip.group, whole))
    if not kept:
        raise UserError(f"'{source}' has no labelled pair.{as_lines(scan.problems[:3])}\nExpected:\n{LAYOUT}")
    scan.clips = kept
    _add_lists(scan, told, text == "words")
    return scan


def listed_pairs(source: Path, splits: Sequence[Path]) -> Scan:
    """Every labelled pair, as if all pictures and texts were available."""
    lists, _ = read(source, splits)
    return _scan(lists)


def parts(lists: Mapping[str, bytes]) -> dict[str, str]:
    """Id -> train, val or test, of the lists of parts."""
    return {id_: entry.part for id_, entry in entries(lists).items()}


def part_of(key: str) -> str:
    """The part of our own split in which a pair is: a tenth validates and a tenth tests, by a hash.

    key: the words of the text, so that pairs with the same text are in one part; the id without words.
    """
    place = int.from_bytes(hashlib.sha256(f"mvsa {key}".encode()).digest()[:8], "big") // TENTH
    return {0: "val", 1: "test"}.get(place, "train")


def _scan(lists: dict[str, bytes]) -> Scan:
    """Every pair with a label, without files; pairs whose labels contradict each other are left out and counted."""
    pairs, told = labels(lists.get(LABELS, b"")), entries(lists)
    label_of = {id_: label for id_, pair in pairs.items() if (label := merged(*pair)) is not None}
    for id_, entry in told.items():
        if pairs and label_of.get(id_) != entry.label:
            stated = f"'{','.join(pairs[id_])}'" if id_ in pairs else "nothing"
            raise UserError(
                f"a list has {id_} as {entry.label}, but {LABELS} has {stated} for it, by the rule "
                f"{label_of.get(id_, 'left out')}. {AGAIN}"
            )
        label_of[id_] = entry.label
    clips = [Clip(id_, CLASSES.index(label_of[id_]), id_, {}) for id_ in sorted(label_of, key=_order)]
    scan = Scan(clips, lists=lists)
    if left := Counter(merged(*pair) for pair in pairs.values())[None]:
        scan.notes.append((LABELS, f"{count(left, 'pair')} left out: one label is positive, the other negative"))
    return scan


def _add_lists(scan: Scan, told: Mapping[str, Entry], words: bool) -> None:
    """Add our own split and, if texts are words, the vocabulary of each protocol's training part to the lists."""
    texts = {clip.id: told[clip.id].text if clip.id in told else readable_text(clip) for clip in scan.clips}
    own = {id_: part_of(" ".join(words_of(text)) or id_) for id_, text in texts.items()}
    trained = {"lists": [entry.text for entry in told.values() if entry.part == "train"]} if told else {}
    if LABELS in scan.lists:
        scan.lists[MERGED] = listed(own)
        trained["merged"] = [texts[id_] for id_, part in own.items() if part == "train"]
    if words:
        scan.lists |= {vocabulary_list(name): vocabulary(of) for name, of in trained.items()}


def _files(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Id -> picture, and id -> text, in a folder; UserError that names two pictures or two texts of one pair."""
    pictures: dict[str, Path] = {}
    texts: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        kind = path.suffix.lower()
        of = pictures if kind in PICTURES else texts if kind == ".txt" else None
        if of is None or path.name.startswith("."):
            continue
        if of.setdefault(path.stem, path) != path:
            raise UserError(f"'{of[path.stem]}' and '{path}' are the same pair. Keep one of them.")
    return pictures, texts


def _place(role: str, id_: str) -> str:
    """Where a file of a pair should be."""
    return {PICTURE: f"{DATA}/{id_}.jpg", OWN: f"{DATA}/{id_}.txt", FEATURES: f"{FEATURES}/{id_}.npy"}[role]


def _order(id_: str) -> tuple[int, str]:
    """Numbers by their value."""
    return (int(id_) if id_.isdecimal() else 0, id_)
