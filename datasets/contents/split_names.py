"""The words in `split` as people write them -> train, val and test. Codes and masks are refused with a remedy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import as_text, rows_in_words

PARTS = ("train", "val", "test")
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
    words = np.char.strip(as_text(split))
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
