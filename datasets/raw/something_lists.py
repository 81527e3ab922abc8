"""The label files of Something-Something v2: which clip has which class, and what is left out and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.raw.lists import name_once, read_content

FOLDER = "20bn-something-something-v2"
LAYOUT = (
    f"SOURCE/\n  {FOLDER}/ID.webm   VP9 without audio\n"
    "  labels/labels.json                   template -> class index\n"
    "  labels/train.json, validation.json   rows of id and template, the template with brackets\n"
    "  labels/test.json                     optional: rows of id alone, left out\n"
    "(the json files may also lie in SOURCE itself, and be called something-something-v2-train.json and so on)"
)
AGAIN = "Unpack the labels of the official download again."
PREFIX = "something-something-v2-"
NEEDED = ("labels", "train", "validation")
KINDS = (*NEEDED, "test")


@dataclass
class Lists:
    """classes: names in the order of their indices. parts: train and validation -> clip id -> class index.

    unlabelled: ids of test.json. problems: (what, reason) of all rows that are not taken.
    """

    classes: tuple[str, ...]
    parts: dict[str, dict[str, int]]
    unlabelled: set[str]
    problems: list[tuple[str, str]] = field(default_factory=list)


def read_lists(source: Path, splits: Sequence[Path]) -> Lists:
    """The label files in `source`, or those among `splits`, which win; UserError where one is missing or wrong.

    The indices in labels.json are 0, 1, 2, ..., each once.
    """
    files = _files(source, splits)
    missing = [name for name in NEEDED if name not in files]
    if missing:
        raise UserError(f"'{source}' has no {' and no '.join(f'{m}.json' for m in missing)}. Expected:\n{LAYOUT}")
    classes = _classes(files["labels"])
    found = Lists(classes, {}, set())
    index = {name: i for i, name in enumerate(classes)}
    for part in ("validation", "train"):
        found.parts[part] = _labelled(files[part], index, found.problems)
    _keep_out_of_train(found)
    if "test" in files:
        found.unlabelled = {_id(row, files["test"], at) for at, row in enumerate(_rows(files["test"]))}
        count = len(found.unlabelled)
        found.problems.append((files["test"].name, f"{count} clips have no labels there and are left out"))
    return found


def without_brackets(template: str) -> str:
    """A template as labels.json spells it: 'Folding [something]' -> 'Folding something'."""
    return template.replace("[", "").replace("]", "")


def _files(source: Path, splits: Sequence[Path]) -> dict[str, Path]:
    """Kind of list -> file; both spellings of the names, in any case."""
    folders = [f for f in (source, source / "labels") if f.is_dir()]
    listed = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() == ".json"]
    kinds = {kind: path for path in listed if (kind := _kind(path)) in KINDS}
    named: dict[str, Path] = {}
    for path in splits:
        if _kind(path) not in KINDS:
            raise UserError(f"'{path}' is no list of this dataset. Allowed: {', '.join(KINDS)} (.json).")
        name_once(named, _kind(path), path)
    return kinds | named


def _kind(path: Path) -> str:
    return path.stem.lower().removeprefix(PREFIX)


def _classes(path: Path) -> tuple[str, ...]:
    table = _parse(path)
    if not isinstance(table, dict) or not table:
        raise UserError(f"'{path}' is no table of template and class index. {AGAIN}")
    try:
        names = {int(value): str(name) for name, value in table.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"'{path}' has a class index that is no whole number ({error}). {AGAIN}") from error
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
                f"'{path}': clip {clip} has the template '{row.get('template', '')}', which labels.json does not know. "
                "Use lists and labels.json of one version of the dataset."
            )
        if clip in labels:
            other = "" if labels[clip] == classes[name] else " with another label"
            problems.append((clip, f"is listed again in {path.name}{other}; its first row counts"))
        labels.setdefault(clip, classes[name])
    return labels


def _keep_out_of_train(found: Lists) -> None:
    train, validation = found.parts["train"], found.parts["validation"]
    for clip in sorted(train.keys() & validation.keys()):
        del train[clip]
        found.problems.append((clip, "is listed in train.json and validation.json; it counts for validation alone"))


def _id(row: Mapping[str, object], path: Path, at: int) -> str:
    clip = str(row.get("id", ""))
    if not clip.isalnum():
        raise UserError(f"'{path}': row {at} has the id '{clip}'; ids are the names of .webm files. {AGAIN}")
    return clip


def _rows(path: Path) -> list[dict[str, object]]:
    rows = _parse(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"'{path}' is no list of rows with id and template. {AGAIN}")
    return rows


def _parse(path: Path) -> object:
    content = read_content(path)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        raise UserError(f"'{path}' is no complete json file: {error}. {AGAIN}") from error
