"""Labels as people save them -> classes 0..C-1 or scores; what cannot be read is refused with the line that helps."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.contents.label_axes import check_axes
from mcr_bench.datasets.contents.words import as_text, rows_in_words, some_names

# Floats that are exactly 0..C-1 or 1..C, each often enough, may be either; the bounds are the ones we promise.
MOST_FLOAT_CLASSES, LEAST_OF_EACH = 50, 5
MANY_CLASSES = 50  # whole numbers with more values than this may be scores (our choice)
ALL_WHOLE = 2.0**24  # from here on every float32 is whole, which says nothing of what the numbers are
MISSING = ("", "nan", "NaN", "<NA>", "NaT")  # what data frames write where a label is missing
NUMBER_CLASSES = "y = np.unique(y, return_inverse=True)[1]"


@dataclass(frozen=True)
class Labels:
    """target: (N,) int64 classes or float64 scores; names: of the classes, empty where none are known; notes: what a
    reader should know of how they were read.
    """

    target: Array
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_labels(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """The file's `y` under `task` (auto, classification, regression); UserError naming rows, what is allowed, remedy.

    names: the file's class_names, or none. auto: whole numbers and text are classes, other numbers scores; floats
    that may be either are refused.
    """
    check_axes(path, y)
    if y.dtype.kind in "SU":
        return _of_text(path, as_text(y), names, task)
    if y.dtype.kind not in "biuf":
        raise UserError(f"'{path}': 'y' has dtype {y.dtype}. {_dtype_remedy(y)}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = ~np.isfinite(y)
        raise UserError(f"'{path}': 'y' is NaN or infinite at {rows_in_words(bad)}. Remove these samples.")
    if task == "regression":
        return _scores(path, y, names)
    if y.dtype.kind != "f":
        return _of_integers(path, y.astype(np.int64), names, task)
    if task == "classification":
        _require_whole(path, y)
        return _of_integers(path, y.astype(np.int64), names, task)
    _refuse_if_ambiguous(path, y)
    return _scores(path, y, names)


def _dtype_remedy(y: Array) -> str:
    if y.dtype.names:
        return f"It is a table; save one column of it: y = y['{y.dtype.names[0]}']."
    return "Give class indices 0..C-1 (whole numbers), class names (text), or scores (floats)."


def _refuse_if_ambiguous(path: Path, y: Array) -> None:
    """Floats that are exactly 0..C-1 or 1..C are most often classes that a data frame has turned into floats."""
    values, counts = np.unique(y, return_counts=True)
    first, count = values[0], len(values)
    if first not in (0, 1) or not 2 <= count <= MOST_FLOAT_CLASSES or counts.min() < LEAST_OF_EACH:
        return
    if np.array_equal(values, first + np.arange(count)):
        raise UserError(
            f"'{path}': 'y' holds the whole numbers {first:g} to {values[-1]:g} as floats ({y.dtype}): classes or "
            "scores? Say which: --set dataset.task=classification (or save y.astype(int)), or "
            "--set dataset.task=regression."
        )


def _require_whole(path: Path, y: Array) -> None:
    bad = y != np.floor(y)
    if bad.any():
        raise UserError(
            f"'{path}': 'y' is {y[bad][0]:g} at {rows_in_words(bad)}, and dataset.task=classification needs whole "
            "numbers. Save the classes as 0..C-1, or set dataset.task=regression."
        )


def _scores(path: Path, y: Array, names: tuple[str, ...]) -> Labels:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(y.astype(np.float32))
    if bad.any():
        raise UserError(f"'{path}': 'y' is too large for float32 at {rows_in_words(bad)}. Use a larger unit.")
    target = y.astype(np.float64)
    low, high = target.min(), target.max()
    if low == high:
        raise UserError(f"'{path}': all of 'y' is {low:g}: there is nothing to learn. Check the column.")
    notes = ["class_names is not used: the target is a score"] if names else []
    if y.dtype.kind == "f" and (y == np.floor(y)).all() and np.abs(target).max() < ALL_WHOLE:
        notes.append(
            f"'y' holds whole numbers as floats ({low:g} to {high:g}) and is learned as scores; if they are classes, "
            "set dataset.task=classification"
        )
    return Labels(target, (), tuple(notes))


def _of_integers(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """Whole numbers as classes; numbers from 1 are taken as 1..C, as other tools do, and told."""
    if (y < 0).any():
        raise _negative(path, y, names)
    given, notes = names, list[str]()
    if _is_from_one(y, names):
        highest = int(y.max())
        names = names or tuple(str(c) for c in range(1, highest + 1))
        notes.append(f"labels are 1 to {highest}, read as {highest} classes (y - 1 numbers them from 0)")
        notes += [] if given else _maybe_scores(path, y, task)
        y = y - 1
    else:
        _check_range(path, y, names)
        notes += [] if given else _maybe_scores(path, y, task)
    return Labels(y, names, (*notes, *_empty_classes(y, names)))


def _is_from_one(y: Array, names: tuple[str, ...]) -> bool:
    """Whether class 0 would be empty because the numbers begin at 1."""
    last = len(names) or len(y)
    return bool(y.min() == 1 and 1 < y.max() <= last and (not names or y.max() == last))


def _negative(path: Path, y: Array, names: tuple[str, ...]) -> UserError:
    allowed = f"0..{len(names) - 1} (class_names has {len(names)})" if names else "0 and up"
    if set(np.unique(y).tolist()) == {-1, 1}:
        remedy = "Save y = (y + 1) // 2."
    else:
        remedy = (
            "Leave samples without a label out; if it is a class, number the classes: "
            f"{NUMBER_CLASSES}; if these are scores, set dataset.task=regression."
        )
    return UserError(f"'{path}': 'y' is {y[y < 0][0]} at {rows_in_words(y < 0)}; allowed: {allowed}. {remedy}")


def _check_range(path: Path, y: Array, names: tuple[str, ...]) -> None:
    bad = y >= (len(names) or np.inf)
    if bad.any():
        raise UserError(
            f"'{path}': 'y' is {y[bad][0]} at {rows_in_words(bad)}; allowed: 0..{len(names) - 1} "
            f"(class_names has {len(names)}). Correct 'y' or class_names."
        )
    if not names and y.max() >= len(y):
        raise UserError(
            f"'{path}': 'y' is {y.max()} at {rows_in_words(y == y.max())}, with {len(y)} samples in all. "
            f"Number the classes 0..C-1 ({NUMBER_CLASSES}), or give class_names; for scores set "
            "dataset.task=regression."
        )
    if len(np.unique(y)) < 2:
        raise UserError(f"'{path}': all of 'y' is {y[0]}: at least 2 classes are needed.")


def _maybe_scores(path: Path, y: Array, task: str) -> list[str]:
    """Counts, years or ages saved as whole numbers: refused where a class has few samples, else told."""
    values = np.unique(y)
    numbered = values[0] <= 1 and len(values) == values[-1] - values[0] + 1
    if task != "auto" or len(values) <= MANY_CLASSES or numbered:
        return []
    said = f"'y' holds {len(values)} different whole numbers from {values[0]} to {values[-1]}"
    if len(y) < LEAST_OF_EACH * len(values):
        raise UserError(
            f"'{path}': {said}, in {len(y)} samples: classes or scores? Say which: "
            "--set dataset.task=regression, or --set dataset.task=classification."
        )
    return [f"{said}, and is learned as classes; if they are scores, set dataset.task=regression"]


def _empty_classes(y: Array, names: tuple[str, ...]) -> list[str]:
    """A number that is skipped: a class that no part has."""
    known = names or tuple(str(c) for c in range(int(y.max()) + 1))
    absent = sorted(set(range(len(known))) - set(np.unique(y).tolist()))
    if not absent:
        return []
    named = some_names([known[c] for c in absent])
    remedy = "" if names else f"; if these classes do not exist, number the others without gaps: {NUMBER_CLASSES}"
    return [f"no part has a sample of {named}{remedy}"]


def _of_text(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """Text as classes: `names` in the file's order, or else the sorted texts."""
    y = np.char.strip(y)
    bad = np.isin(y, MISSING)
    if bad.any():
        raise UserError(f"'{path}': 'y' is '{y[bad][0]}' at {rows_in_words(bad)}. Remove samples without a label.")
    found = _sorted_names(path, y, task)
    if len(found) < 2:
        raise UserError(f"'{path}': all of 'y' is '{found[0]}': at least 2 classes are needed.")
    notes = [] if names else [f"'y' is text: {some_names(found)} in sorted order are the class_names"]
    same = [name for name, count in Counter(name.lower() for name in found).items() if count > 1]
    if same:
        notes.append(
            f"class names that differ in upper and lower case only: {some_names(same)}, which may be one class"
        )
    place = {name: at for at, name in enumerate(names or found)}
    for name in found:
        if name not in place:
            raise UserError(f"'{path}': 'y': {unknown('class', name, place)} Correct 'y' or class_names.")
    target = np.array([place[name] for name in y.tolist()], np.int64)
    return Labels(target, names or tuple(found), (*notes, *_empty_classes(target, names or tuple(found))))


def _sorted_names(path: Path, y: Array, task: str) -> list[str]:
    """The different texts, numbers by value; UserError where they are no names of classes."""
    found = sorted(set(y.tolist()))
    numbers = _as_numbers(found)
    whole = all(name.lstrip("+-").isdecimal() for name in found)
    if task == "regression" or (numbers and not whole):
        points = "np.char.replace(y, ',', '.')" if any("," in name for name in found) else "y"
        remedy = f"y = {points}.astype(float)" if numbers else "numbers as floats"
        raise UserError(f"'{path}': 'y' is text ('{found[0]}', ...), not numbers. For scores save {remedy}.")
    if len(found) * 2 > len(y) and len(found) > 2:
        raise UserError(
            f"'{path}': 'y' has {len(found)} different texts in {len(y)} samples ('{found[0]}', ...): these are no "
            "names of classes. Save the class of each sample."
        )
    return sorted(found, key=lambda name: numbers[name]) if whole else found


def _as_numbers(texts: list[str]) -> dict[str, float]:
    """Text -> number, also with a decimal comma; empty where one is not a number."""
    try:
        return {text: float(text.replace(",", ".", 1)) for text in texts}
    except ValueError:
        return {}
