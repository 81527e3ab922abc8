"""The lists of Kinetics-Sounds with 31 classes, in the three forms in which they are published, and what is refused."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.raw.lists import cells_of, list_files, numbered_lines, read_lists
from mcr_bench.datasets.raw.web.names import Name, name_of

CLASSES = (
    *("blowing_nose", "blowing_out_candles", "bowling", "chopping_wood", "dribbling_basketball", "laughing"),
    *("mowing_lawn", "playing_accordion", "playing_bagpipes", "playing_bass_guitar", "playing_clarinet"),
    *("playing_drums", "playing_guitar", "playing_harmonica", "playing_keyboard", "playing_organ", "playing_piano"),
    *("playing_saxophone", "playing_trombone", "playing_trumpet", "playing_violin", "playing_xylophone"),
    *("ripping_paper", "shoveling_snow", "shuffling_cards", "singing", "stomping_grapes", "tap_dancing"),
    *("tapping_guitar", "tapping_pen", "tickling"),
)
WHOLE, TRAP = "KS_train_val.json", "KS.json"
PAIRS = (("my_train.txt", "my_test.txt"), ("train.csv", "test.csv"))
NAMES = (WHOLE, TRAP, *(name for pair in PAIRS for name in pair))
SUBSETS = {"training": "train", "validation": "val", "testing": "test"}
LISTS = (
    f"{WHOLE} (training, validation, testing), my_train.txt and my_test.txt (VIDEO_START,10,CLASS), "
    "or train.csv and test.csv (youtube_id,label)"
)
AGAIN = "Use the list as it was published."
OTHERS = (
    "Lists of 32 classes (CrissCross), and of 33 or 34 (the first paper, and copies with substituted classes), are "
    "other protocols under the same name, and are not offered"
)


@dataclass
class Listed:
    """The clips of the lists.

    names: video -> its name, with the start if the list states it.
    labels: video -> class index, in the order of `CLASSES`.
    parts: list -> video -> train, val or test.
    """

    names: dict[str, Name] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, part: str, where: str, text: str, label: int) -> None:
        """One entry of the list `name`; UserError for a text that is not a clip, or a video that is listed twice."""
        clip = name_of(text)
        if clip is None:
            raise UserError(f"{where}: '{text}' is not VIDEO_START_END with a video id of 11 characters. {AGAIN}")
        for other, of in self.parts.items():
            if clip.video in of:
                raise _twice(where, clip.video, other, of[clip.video], part)
        self.names[clip.video], self.labels[clip.video] = clip, label
        self.parts.setdefault(name, {})[clip.video] = part


def read(source: Path, splits: Sequence[Path]) -> dict[str, bytes]:
    """Name -> content of the lists of one form, from `splits`, or else from the source or its folders of lists.

    UserError if no form is complete, or if lists of two forms are given.
    """
    files = list_files(source, NAMES, splits)
    given = {path.name.lower() for path in splits}
    chosen = {name: path for name, path in files.items() if name.lower() in given} or files
    if TRAP in chosen and WHOLE not in chosen and len(chosen) == 1:
        listed({TRAP: read_lists(chosen)[TRAP]})  # says why it is refused
    forms = [form for form in ((WHOLE,), *PAIRS) if set(form) <= chosen.keys()]
    if not forms:
        raise UserError(f"'{source}' has no complete lists of Kinetics-Sounds. Needed: {LISTS}.")
    if len(forms) > 1:
        both = " and ".join(", ".join(form) for form in forms)
        raise UserError(f"'{source}' has lists of several forms: {both}. Choose one with --splits FILE.")
    return read_lists({name: chosen[name] for name in forms[0]})


def listed(lists: Mapping[str, bytes]) -> Listed:
    """The clips of the lists of one form.

    UserError for a wrong line, for classes that are not those of ks31, for a video in two parts, and for a list whose
    training part contains the test videos.
    """
    result = Listed()
    for name in (WHOLE, TRAP):
        if name in lists:
            _add_json(name, lists[name], result)
    for pair in PAIRS:
        for name, part in zip(pair, ("train", "test"), strict=True):
            if name in lists:
                rows = _numbered(name, lists[name]) if name.endswith(".txt") else _named(name, lists[name])
                for where, text, label in rows:
                    result.add(name, part, where, text, label)
    return result


def has_validation(lists: Mapping[str, bytes]) -> bool:
    """Whether the lists have a validation part of their own."""
    return WHOLE in lists


def _add_json(name: str, content: bytes, result: Listed) -> None:
    table = _json(name, content)
    database = table.get("database")
    if not isinstance(database, dict) or not database:
        raise UserError(f"{name} has no 'database' of clips. {AGAIN}")
    entries = [(clip, *_entry(name, clip, of)) for clip, of in database.items()]
    _require_classes(name, [label for _, _, label in entries])
    counts = {part: sum(subset == part for _, subset, _ in entries) for part in SUBSETS}
    if not counts["testing"]:
        raise UserError(
            f"{name} has no testing part: {counts['training']:,} clips train, {counts['validation']:,} validate. The "
            "published list of this form contains the 2,597 test videos of the others in its training part, so that it "
            f"would train on test clips. Use {WHOLE}, which has all three parts."
        )
    for clip, subset, label in entries:
        result.add(name, SUBSETS[subset], f"{name}, {clip}", clip, CLASSES.index(label))


def _entry(name: str, clip: str, of: object) -> tuple[str, str]:
    """Subset and class of one clip of the database."""
    subset, label = (of.get("subset"), of.get("label")) if isinstance(of, dict) else (None, None)
    if subset not in SUBSETS or not isinstance(label, str):
        raise UserError(f"{name}, {clip}: expected a subset of {', '.join(SUBSETS)} and a label. {AGAIN}")
    return str(subset), _plain(label)


def _json(name: str, content: bytes) -> dict[str, object]:
    try:
        table = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not complete JSON ({error}). {AGAIN}") from error
    if not isinstance(table, dict):
        raise UserError(f"{name} is not an object with labels and a database. {AGAIN}")
    return table


def _numbered(name: str, content: bytes) -> Iterator[tuple[str, str, int]]:
    """(place, clip, class) of lines VIDEO_START,10,CLASS with the index of the class in alphabetical order."""
    for number, line in numbered_lines(content):
        where = f"{name}, line {number}"
        match line.split(","):
            case [clip, _, label] if label.isdecimal() and len(label) < 10:
                if int(label) >= len(CLASSES):
                    raise UserError(
                        f"{where}: class {label}, but ks31 has the classes 0 to 30. {OTHERS}. Use: {LISTS}."
                    )
                yield where, clip, int(label)
            case _:
                raise UserError(f"{where}: '{line}' is not VIDEO_START,10,CLASS. {AGAIN}")


def _named(name: str, content: bytes) -> Iterator[tuple[str, str, int]]:
    """(place, clip, class) of lines youtube_id,label with the name of the class, after a header."""
    rows = [(number, cells_of(line)) for number, line in numbered_lines(content)]
    if rows and [cell.lower() for cell in rows[0][1][:1]] == ["youtube_id"]:
        rows = rows[1:]
    for number, row in rows:
        if len(row) != 2:
            raise UserError(f"{name}, line {number}: '{','.join(row)}' is not youtube_id,label. {AGAIN}")
    _require_classes(name, [_plain(row[1]) for _, row in rows])
    yield from ((f"{name}, line {number}", row[0], CLASSES.index(_plain(row[1]))) for number, row in rows)


def _plain(label: str) -> str:
    """The name of a class as the lists spell it: Kinetics itself has spaces instead of underscores."""
    return label.strip().lower().replace(" ", "_")


def _require_classes(name: str, labels: Iterable[str]) -> None:
    """UserError that tells the list of another protocol apart by the names of its classes."""
    names = set(labels)
    if others := sorted(names - set(CLASSES)):
        raise UserError(
            f"{name} has {len(names)} classes; not among the 31 of ks31: {', '.join(others[:5])}. {OTHERS}. "
            f"Use: {LISTS}."
        )


def _twice(where: str, video: str, other: str, part: str, again: str) -> UserError:
    if part == again:
        return UserError(f"{where}: the video {video} is listed before in {other}. {AGAIN}")
    return UserError(
        f"{where}: the video {video} is in {again}, but also in {part} ({other}): the published parts share no video, "
        f"and a model must not be trained on test clips. Use: {LISTS}."
    )
