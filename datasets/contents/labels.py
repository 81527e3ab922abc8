"""Labels as people save them -> classes 0..C-1 or scores. Other labels are refused with the line that corrects them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.contents.label_axes import check_axes
from mcr_bench.datasets.contents.several import read_several
from mcr_bench.datasets.contents.words import MISSING, as_text, rows_in_words, some_names

# Floats that are exactly 0..C-1 or 1..C, each frequent enough, may be classes or scores; docs/data.md gives the bounds.
MOST_FLOAT_CLASSES, LEAST_OF_EACH = 50, 5
SCORED, SENTIMENT = ("regression", "sentiment"), 3  # tasks of scores; the highest sentiment of CMU-MOSI
MANY_CLASSES = 50  # whole numbers with more different values than this may be scores (our choice)
ALL_WHOLE = 2.0**24  # from here on every float32 is a whole number, so being whole does not suggest classes
NUMBER_CLASSES = "y = np.unique(y, return_inverse=True)[1]"


@dataclass(frozen=True)
class Labels:
    """The labels of N samples.

    target: (N,) class indices (int64) or scores (float64); or (N, L), 0 and 1 (int64) or scores (float64).
    names: the names of the classes or labels; empty if they are unknown.
    notes: sentences about how the labels were interpreted.
    """

    target: Array
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_labels(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """The labels of a file; UserError that names the rows, what is allowed, and the remedy.

    path: the file, for messages.
    y: (N,) numbers of any dtype, or text; or (N, L) numbers, several labels or scores per sample.
    names: the file's `class_names`; empty if it has none.
    task: classification, regression, multi-label, sentiment (scores from -3 to 3), or auto: whole numbers and text are
        classes, or labels if there are several per sample; other numbers are scores; and what may be either is refused.

    >>> read_labels(Path("mine.npz"), np.array([2, 0, 1, 1]), (), "auto").target
    array([2, 0, 1, 1])
    """
    check_axes(path, y, task)
    if y.dtype.kind in "SU":
        return _of_text(path, as_text(y), names, task)
    if y.dtype.kind not in "biuf":
        raise UserError(f"'{path}': 'y' has dtype {y.dtype}. {_dtype_remedy(y)}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = ~np.logical_and.reduce(np.isfinite(y.reshape(len(y), -1)), axis=1)
        raise UserError(f"'{path}': 'y' is NaN or infinite at {rows_in_words(bad)}. Remove these samples.")
    if y.ndim > 1:
        several, labels, notes = read_several(path, y, names, task)
        return Labels(several, labels, tuple(notes))
    if task in SCORED:
        return _scores(path, y, names, task)
    if y.dtype.kind != "f":
        return _of_integers(path, y.astype(np.int64), names, task)
    if task == "classification":
        _require_whole(path, y)
        return _of_integers(path, y.astype(np.int64), names, task)
    _refuse_if_ambiguous(path, y)
    return _scores(path, y, names, task)


def _dtype_remedy(y: Array) -> str:
    if y.dtype.names:
        return f"It is a table. Save one column of it: y = y['{y.dtype.names[0]}']."
    return "Give class indices 0..C-1 (whole numbers), class names (text), or scores (floats)."


def _refuse_if_ambiguous(path: Path, y: Array) -> None:
    """UserError for floats that are exactly 0..C-1 or 1..C: often a data frame has converted classes to floats."""
    values, counts = np.unique(y, return_counts=True)
    first, count = values[0], len(values)
    if first not in (0, 1) or not 2 <= count <= MOST_FLOAT_CLASSES or counts.min() < LEAST_OF_EACH:
        return
    if np.array_equal(values, first + np.arange(count)):
        raise UserError(
            f"'{path}': 'y' holds the whole numbers {first:g} to {values[-1]:g} as floats ({y.dtype}), which may be "
            "classes or scores. Choose: --set dataset.task=classification (or save y.astype(int)), or "
            "--set dataset.task=regression."
        )


def _require_whole(path: Path, y: Array) -> None:
    bad = y != np.floor(y)
    if bad.any():
        raise UserError(
            f"'{path}': 'y' is {y[bad][0]:g} at {rows_in_words(bad)}, but dataset.task=classification needs whole "
            "numbers. Save the classes as 0..C-1, or set dataset.task=regression."
        )


def _scores(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(y.astype(np.float32))
    if bad.any():
        raise UserError(f"'{path}': 'y' is too large for float32 at {rows_in_words(bad)}. Use a larger unit.")
    target = y.astype(np.float64)
    low, high = target.min(), target.max()
    if low == high:
        raise UserError(
            f"'{path}': 'y' is {low:g} in every sample: there is nothing to learn. Save scores that differ."
        )
    if task == "sentiment" and max(-low, high) > SENTIMENT:
        bad = np.abs(target) > SENTIMENT
        raise UserError(
            f"'{path}': 'y' is {target[bad][0]:g} at {rows_in_words(bad)}, but dataset.task=sentiment needs scores "
            f"from -{SENTIMENT} to {SENTIMENT}. Set dataset.task=regression for other scores."
        )
    notes = ["class_names is not used: the target is a score"] if names else []
    if task != "sentiment" and y.dtype.kind == "f" and (y == np.floor(y)).all() and np.abs(target).max() < ALL_WHOLE:
        notes.append(
            f"'y' holds whole numbers as floats ({low:g} to {high:g}) and is learned as scores; if they are classes, "
            "set dataset.task=classification"
        )
    return Labels(target, (), tuple(notes))


def _of_integers(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """Whole numbers as classes. Numbers from 1 are read as classes 1..C, as in other tools, which a note reports."""
    if (y < 0).any():
        raise _negative(path, y, names)
    from_one = _is_from_one(y, names)
    if not from_one:
        _check_range(path, y, names)
    notes = [] if names else _maybe_scores(path, y, task)
    if from_one:
        highest = int(y.max())
        names = names or tuple(str(c) for c in range(1, highest + 1))
        notes.insert(0, f"labels are 1 to {highest}, read as {highest} classes (y - 1 numbers them from 0)")
        y = y - 1
    return Labels(y, names, (*notes, *_empty_classes(y, names)))


def _is_from_one(y: Array, names: tuple[str, ...]) -> bool:
    """Whether class 0 would have no sample because the numbers begin at 1."""
    last = len(names) or len(y)
    return bool(y.min() == 1 and 1 < y.max() <= last and (not names or y.max() == last))


def _negative(path: Path, y: Array, names: tuple[str, ...]) -> UserError:
    allowed = f"0..{len(names) - 1} (class_names has {len(names)})" if names else "0 and up"
    if set(np.unique(y).tolist()) == {-1, 1}:
        remedy = "Save y = (y + 1) // 2."
    else:
        remedy = (
            "Leave samples without a label out. If it is a class, number the classes: "
            f"{NUMBER_CLASSES}. If these are scores, set dataset.task=regression."
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
            f"Number the classes 0..C-1 ({NUMBER_CLASSES}), or add class_names to the file. For scores set "
            "dataset.task=regression."
        )
    if len(np.unique(y)) < 2:
        raise _one_class(path, str(y[0]))


def _one_class(path: Path, name: str) -> UserError:
    return UserError(f"'{path}': 'y' is {name} in every sample. Save samples of at least 2 classes.")


def _maybe_scores(path: Path, y: Array, task: str) -> list[str]:
    """Counts, years or ages as whole numbers: UserError if there are few samples of each, else a note."""
    values = np.unique(y)
    numbered = values[0] <= 1 and len(values) == values[-1] - values[0] + 1
    if task != "auto" or len(values) <= MANY_CLASSES or numbered:
        return []
    summary = f"'y' holds {len(values)} different whole numbers from {values[0]} to {values[-1]}"
    if len(y) < LEAST_OF_EACH * len(values):
        raise UserError(
            f"'{path}': {summary}, in {len(y)} samples, which may be classes or scores. Choose: "
            "--set dataset.task=regression, or --set dataset.task=classification."
        )
    return [f"{summary}, and is learned as classes; if they are scores, set dataset.task=regression"]


def _empty_classes(y: Array, names: tuple[str, ...]) -> list[str]:
    """A note on classes without a sample, whose numbers are skipped; empty if there are none."""
    classes = names or tuple(str(c) for c in range(int(y.max()) + 1))
    absent = sorted(set(range(len(classes))) - set(np.unique(y).tolist()))
    if not absent:
        return []
    listed = some_names([classes[c] for c in absent])
    remedy = "" if names else f"; if these classes do not exist, number the others without gaps: {NUMBER_CLASSES}"
    return [f"no part has a sample of {listed}{remedy}"]


def _of_text(path: Path, y: Array, names: tuple[str, ...], task: str) -> Labels:
    """Text as classes: `names` in the order of the file, or else the sorted texts."""
    bad = np.isin(y, MISSING)
    if bad.any():
        raise UserError(f"'{path}': 'y' is '{y[bad][0]}' at {rows_in_words(bad)}. Remove samples without a label.")
    texts = _sorted_names(path, y, task)
    if len(texts) < 2:
        raise _one_class(path, f"'{texts[0]}'")
    notes = [] if names else [f"'y' is text: {some_names(texts)} in sorted order are the class_names"]
    same = [name for name, count in Counter(name.lower() for name in texts).items() if count > 1]
    if same:
        notes.append(
            f"class names that differ in upper and lower case only: {some_names(same)}, which may be one class"
        )
    names = names or tuple(texts)
    index = {name: at for at, name in enumerate(names)}
    for name in texts:
        if name not in index:
            raise UserError(f"'{path}': 'y': {unknown('class', name, index)} Correct 'y' or class_names.")
    target = np.array([index[name] for name in y.tolist()], np.int64)
    return Labels(target, names, (*notes, *_empty_classes(target, names)))


def _sorted_names(path: Path, y: Array, task: str) -> list[str]:
    """The different texts, sorted, numbers by value; UserError if they are not names of classes."""
    texts = sorted(set(y.tolist()))
    numbers = _as_numbers(texts)
    whole = all(text.lstrip("+-").isdecimal() for text in texts)
    if task in SCORED or (numbers and not whole):
        points = "np.char.replace(y, ',', '.')" if any("," in text for text in texts) else "y"
        remedy = f"y = {points}.astype(float)" if numbers else "numbers as floats"
        classes = "" if task in SCORED else _of_classes(points, numbers)
        raise UserError(f"'{path}': 'y' is text ('{texts[0]}', ...), not numbers. For scores save {remedy}.{classes}")
    if len(texts) * 2 > len(y) and len(texts) > 2:
        raise UserError(
            f"'{path}': 'y' has {len(texts)} different texts in {len(y)} samples ('{texts[0]}', ...), which are not "
            "names of classes. Save the class of each sample."
        )
    return sorted(texts, key=lambda text: numbers[text]) if whole else texts


def _of_classes(points: str, numbers: dict[str, float]) -> str:
    """How texts of numbers that have a point become classes. points: Python for the texts with points, not commas."""
    if all(number.is_integer() for number in numbers.values()):
        return f" For classes save whole numbers, y = {points}.astype(float).astype(int), or names."
    return " For classes save whole numbers, or names that are not numbers, such as y = np.char.add('class ', y)."


def _as_numbers(texts: list[str]) -> dict[str, float]:
    """Text -> number, also with a decimal comma; empty if one of them is not a number."""
    try:
        return {text: float(text.replace(",", ".", 1)) for text in texts}
    except ValueError:
        return {}
