"""The words in `split` as people write them -> train, val and test. Codes, masks and no `split` get a remedy."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.key_hints import rename_hint, tells_split
from mcr_bench.datasets.contents.words import as_text, rows_in_words

PARTS = ("train", "val", "test")
NUMBERS_OF = r"(?:idx|idxs|index|indices|indexes|ids|inds|rows)"  # what people call arrays with the numbers of samples
# In lower case. `eval` and `holdout` are not allowed: some people use them for validation, others for test.
WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "vali", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "te"), "test"),
}


def read_parts(path: Path, split: Array) -> tuple[Array, tuple[str, ...]]:
    """The part of each sample, (N,) text of train, val and test, and notes on words that were translated.

    split: (N,) text. UserError that names the rows, the allowed words and the remedy.

    >>> read_parts(Path("mine.npz"), np.array(["train", "dev", "test"]))[0].tolist()
    ['train', 'val', 'test']
    """
    if split.dtype.kind in "biuf":
        raise UserError(f"'{path}': 'split' holds {_numbers(split)}")
    words = as_text(split)
    if (numbers := _as_numbers(words)) is not None:
        raise UserError(f"'{path}': 'split' holds {_numbers(numbers)}")
    names = {str(word): WORDS.get(str(word).lower(), "") for word in np.unique(words)}
    bad = np.isin(words, [word for word, part in names.items() if not part])
    if bad.any():
        raise UserError(
            f"'{path}': 'split' is '{words[bad][0]}' at {rows_in_words(bad)}. Allowed: train, val, test "
            "(or training, valid, validation, dev, testing). Rename it, or leave samples of no part out of the file."
        )
    _refuse_two_words(path, names)
    return np.vectorize(names.__getitem__, otypes=["U5"])(words), _translations(names)


def missing_split(arrays: Mapping[str, Array]) -> str:
    """A sentence with the line that makes `split` of what the file has, or at random; it begins with a space.

    arrays: those of the file, `y` among them.

    >>> missing_split({"x_a": np.zeros((20, 3)), "y": np.zeros(20)}).partition(": ")[2]
    'split = np.random.default_rng(0).permutation(np.repeat(["train", "val", "test"], [14, 3, 3])).'
    """
    if masks := _masks(arrays):
        return _of_masks(masks)
    if indices := _indices(arrays):
        return _of_indices(indices)
    hint = rename_hint(tuple(arrays))
    if tells_split(tuple(arrays)):
        return hint
    if "group" in arrays and arrays["group"].ndim == 1:
        return hint + _by_group(len(np.unique(arrays["group"])))
    return f"{hint} Make a random one: split = {_drawn(arrays['y'].shape[0] if arrays['y'].ndim else 0)}."


def _masks(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Part -> the key of the mask that says which samples are in it; empty unless train and test have one."""
    return _of_parts(arrays, r"^mask_|_mask$|^is_", lambda array: array.dtype.kind == "b")


def _of_parts(arrays: Mapping[str, Array], around: str, fits: Callable[[Array], bool]) -> dict[str, str]:
    """Part -> the key of the array (n,) that is named after it and fits; empty unless train and test have one.

    around: a pattern of what may stand before or after the part's name.
    """
    keys: dict[str, str] = {}
    for key, array in arrays.items():
        word = re.sub(around, "", key.lower())
        if array.ndim == 1 and word in WORDS and fits(array):
            keys[WORDS[word]] = key
    return {part: keys[part] for part in PARTS if part in keys} if {"train", "test"} <= keys.keys() else {}


def _indices(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Part -> the key of the array with the numbers of its samples; empty unless train and test have one."""
    count = arrays["y"].shape[0] if arrays["y"].ndim else 0
    keys = _of_parts(arrays, rf"^{NUMBERS_OF}_|_{NUMBERS_OF}$", lambda array: _are_rows(array, count))
    every = np.concatenate([arrays[key] for key in keys.values()]) if keys else np.empty(0)
    return keys if len(np.unique(every)) == len(every) else {}


def _are_rows(array: Array, count: int) -> bool:
    """Whether an array (n,) holds numbers of samples, of which there are `count`."""
    return array.dtype.kind in "iu" and bool(len(array) and array.min() >= 0 and array.max() < count)


def _of_indices(indices: Mapping[str, str]) -> str:
    line = "; ".join(f'split[{key}] = "{part}"' for part, key in indices.items())
    if "val" not in indices:
        line += f'; split[{indices["train"]}[::10]] = "val" (every tenth; keep groups together)'
    return (
        ' Make it of the numbers of samples, and leave these arrays out of the file: split = np.full(len(y), "", "U5")'
        f"; {line}. Samples in none of them have to be left out."
    )


def _of_masks(masks: Mapping[str, str]) -> str:
    keys, words = ", ".join(masks.values()), ", ".join(f'"{part}"' for part in masks)
    line = f'split = np.select([{keys}], [{words}], "")'
    if "val" not in masks:
        line += "; split[np.flatnonzero(split == 'train')[::10]] = 'val' (every tenth; keep groups together)"
    return f" Make it of the masks, and leave these out of the file: {line}."


def _by_group(count: int) -> str:
    """How a split is drawn that keeps `count` groups together."""
    needed = "Protocol groups makes folds of its own, but needs a split in the file, too."
    if count < len(PARTS):
        return (
            f" A group may not be in two parts, and there are only {count} groups for three. Give smaller groups, or "
            f"leave 'group' out. {needed}"
        )
    return (
        " Make a random one that keeps groups together: "
        f"split = {_drawn(count)}[np.unique(group, return_inverse=True)[1]]. {needed}"
    )


def _drawn(count: int) -> str:
    """Python that puts `count` things into the parts at random, about 70 %, 15 % and 15 % of them."""
    held = max(1, round(0.15 * count))
    sizes = [max(1, count - 2 * held), held, held]
    return f'np.random.default_rng(0).permutation(np.repeat(["train", "val", "test"], {sizes}))'


def _translations(names: Mapping[str, str]) -> tuple[str, ...]:
    """A note on the words (word -> part) that differ from the name of their part; empty if there are none."""
    other = sorted((PARTS.index(part), word) for word, part in names.items() if word != part)
    if not other:
        return ()
    pairs = ", ".join(f"'{word}' as {PARTS[at]}" for at, word in other)
    return (f"words in 'split' are read as parts: {pairs}",)


def _as_numbers(words: Array) -> Array | None:
    """(N,) codes or masks that were saved as text, as int or bool; None for words."""
    if np.isin(words, ("True", "False")).all():
        return np.array(words == "True")
    return words.astype(int) if np.char.isdecimal(words).all() else None


def _refuse_two_words(path: Path, names: dict[str, str]) -> None:
    """UserError for both `dev` and `valid`: they are two parts, and we cannot know which one selects the epoch."""
    held_out = sorted({word.lower() for word, meant in names.items() if meant == "val"})
    development = [word for word in held_out if word.startswith("dev")]
    others = [word for word in held_out if word not in development]
    if development and others:
        raise UserError(
            f"'{path}': 'split' has both '{development[0]}' and '{others[0]}'. Write val for the samples that select "
            "the epoch. Write train for the others, or leave them out of the file."
        )


def _numbers(split: Array) -> str:
    """What numbers in `split` may mean, and the line that makes words of them."""
    if split.dtype.kind == "b":
        return (
            "true and false, a mask of one part. Save words, with some of the training samples in val. If true "
            'means train: part = np.where(split, "train", "test"); part[np.flatnonzero(split)[::10]] = "val" '
            "(every tenth; keep groups together)."
        )
    values = [f"{value:g}" for value in np.unique(split)[:5]]
    line = 'split = np.array(["train", "val", "test"])[split.astype(int)]'
    if not set(values) <= {"0", "1", "2"}:
        line = 'split = np.select([split == 1, split == 2], ["train", "val"], "test")'
    return (
        f"the numbers {', '.join(values)}, but words are needed to know the part of each number. Save words: {line} "
        "(put the three words in the right order)."
    )
