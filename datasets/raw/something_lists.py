"""The label files of Something-Something v2: the class of each clip, and what is left out with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.raw.lists import name_once, read_content

FOLDER = "20bn-something-something-v2"
LAYOUT = (
    f"SOURCE/\n  {FOLDER}/ID.webm   VP9 without audio\n"
    "  labels/labels.json                   template -> class index\n"
    "  labels/train.json, validation.json   rows of id and template, the template with brackets\n"
    "  labels/test.json                     optional: rows with an id only, which are left out\n"
    "(the json files may also be in SOURCE itself, and be named something-something-v2-train.json and so on)"
)
AGAIN = "Unpack the labels of the official download again."
PREFIX = "something-something-v2-"
NEEDED = ("labels", "train", "validation")
KINDS = (*NEEDED, "test")


@dataclass
class Lists:
    """The content of the label files.

    classes: the names of the classes in the order of their indices.
    parts: train and validation -> clip id -> class index.
    unlabelled: the ids in test.json.
    problems: (clip or file, reason) of all rows that are not used.
    """

    classes: tuple[str, ...]
    parts: dict[str, dict[str, int]]
    unlabelled: set[str]
    problems: list[tuple[str, str]] = field(default_factory=list)


def read_lists(source: Path, splits: Sequence[Path]) -> Lists:
    """The content of the label files that the user gives as `splits`, or else of those in `source`.

    UserError if a file is missing or wrong. The class indices in labels.json must be 0, 1, 2, ..., each once.
    """
    files = _files(source, splits)
    missing = [name for name in NEEDED if name not in files]
    if missing:
        raise UserError(f"'{source}' has no {' and no '.join(f'{m}.json' for m in missing)}. Expected:\n{LAYOUT}")
    classes = _classes(files["labels"])
    lists = Lists(classes, {}, set())
    index = {name: i for i, name in enumerate(classes)}
    for part in ("validation", "train"):
        lists.parts[part] = _labelled(files[part], index, lists.problems)
    _keep_out_of_train(lists)
    if "test" in files:
        lists.unlabelled = {_id(row, files["test"], at) for at, row in enumerate(_rows(files["test"]))}
        count = len(lists.unlabelled)
        lists.problems.append((files["test"].name, f"its {count} clips have no labels and are left out"))
    return lists


def without_brackets(template: str) -> str:
    """A template as labels.json spells it.

    >>> without_brackets("Folding [something]")
    'Folding something'
    """
    return template.replace("[", "").replace("]", "")


def _files(source: Path, splits: Sequence[Path]) -> dict[str, Path]:
    """Kind of list -> file, with either form of its name, in any letter case."""
    folders = [f for f in (source, source / "labels") if f.is_dir()]
    listed = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() == ".json"]
    kinds = {kind: path for path in listed if (kind := _kind(path)) in KINDS}
    given: dict[str, Path] = {}
    for path in splits:
        if _kind(path) not in KINDS:
            raise UserError(
                f"'{path}' is not a list of this dataset. Allowed: {', '.join(f'{kind}.json' for kind in KINDS)}. "
                "Rename it, or leave it out."
            )
        name_once(given, _kind(path), path)
    return kinds | given


def _kind(path: Path) -> str:
    return path.stem.lower().removeprefix(PREFIX)


def _classes(path: Path) -> tuple[str, ...]:
    table = _parse(path)
    if not isinstance(table, dict) or not table:
        raise UserError(f"'{path}' is not an object of template -> class index. {AGAIN}")
    try:
        names = {int(value): str(name) for name, value in table.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"'{path}' has a class index that is not a whole number ({error}). {AGAIN}") from error
    if sorted(names) != list(range(len(table))):
        raise UserError(f"'{path}': the class indices are not 0 to {len(table) - 1}, each once. {AGAIN}")
    return tuple(names[i] for i in range(len(names)))


def _labelled(path: Path, classes: Mapping[str, int], problems: list[tuple[str, str]]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for at, row in enumerate(_rows(path)):
        clip = _id(row, path, at)
        name = without_brackets(str(row.get("template", "")))
        if name not in classes:
            raise UserError(
                f"'{path}': clip {clip} has the template '{row.get('template', '')}', which is not in labels.json. "
                "Use lists and labels.json of the same version of the dataset."
            )
        if clip in labels:
            other = "" if labels[clip] == classes[name] else " with another label"
            problems.append((clip, f"is listed again in {path.name}{other}; its first row is used"))
        labels.setdefault(clip, classes[name])
    return labels


def _keep_out_of_train(lists: Lists) -> None:
    train, validation = lists.parts["train"], lists.parts["validation"]
    for clip in sorted(train.keys() & validation.keys()):
        del train[clip]
        lists.problems.append((clip, "is listed in train.json and validation.json; it is used for validation only"))


def _id(row: Mapping[str, object], path: Path, at: int) -> str:
    clip = str(row.get("id", ""))
    if not clip.isalnum():
        raise UserError(f"'{path}': row {at} has the id '{clip}', but ids are the names of .webm files. {AGAIN}")
    return clip


def _rows(path: Path) -> list[dict[str, object]]:
    rows = _parse(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"'{path}' is not a list of rows with id and template. {AGAIN}")
    return rows


def _parse(path: Path) -> object:
    """The JSON value in a file; UserError if it is not complete JSON."""
    content = read_content(path)
    try:
        return json_of(content.decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"'{path}' is not a complete JSON file: {error}. {AGAIN}") from error
