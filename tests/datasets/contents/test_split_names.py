"""The words of `split`: those that are taken and told, and codes and masks that are refused with the line to use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.split_names import read_parts

CODE = np.repeat([0, 1, 2], [6, 3, 3])
PARTS = np.array(["train", "val", "test"])[CODE]
FILE = Path("mine.npz")


@pytest.mark.parametrize(
    "words",
    [
        ("Train", "Valid", "Test"),
        ("training", "validation", "testing"),
        ("train", "dev", "test"),
        ("TRAIN ", " VAL", "TEST"),
        ("trn", "development", "tst"),
    ],
)
@pytest.mark.parametrize("dtype", ["U", "S"])
def test_other_words_are_taken_and_told_once(words: tuple[str, str, str], dtype: str) -> None:
    part, told = read_parts(FILE, np.array(words).astype(dtype)[CODE])
    assert part.tolist() == PARTS.tolist()
    (note,) = told
    stripped = [word.strip() for word in words]
    for word, meant in zip(stripped, ("train", "val", "test"), strict=True):
        assert (f"'{word}' as {meant}" in note) == (word != meant)


def test_the_words_themselves_need_no_word() -> None:
    part, told = read_parts(FILE, PARTS)
    assert (part.tolist(), told) == (PARTS.tolist(), ())


def test_two_words_of_one_part_are_taken_unless_they_may_be_two_parts() -> None:
    mixed = PARTS.astype("U10")
    mixed[7] = "valid"
    assert read_parts(FILE, mixed)[0].tolist() == PARTS.tolist()
    mixed[7] = "dev"
    with pytest.raises(UserError, match="both 'dev' and 'val'"):
        read_parts(FILE, mixed)


REFUSED: dict[str, tuple[Any, str]] = {
    "codes": (CODE, r'0, 1, 2.*split = np.array\(\["train", "val", "test"\]\)\[split.astype\(int\)\]'),
    "codes as floats": (CODE * 1.0, r"\[split.astype\(int\)\]"),
    "codes as text": (CODE.astype(str), r"the numbers 0, 1, 2"),
    "codes from 1": (CODE + 1, r'np.select\(\[split == 1, split == 2\], \["train", "val"\], "test"\)'),
    "folds": (np.arange(12) % 5, "the numbers 0, 1, 2, 3, 4"),
    "a mask": (CODE == 0, r'np.where\(split, "train", "test"\)'),
    "a mask as text": ((CODE == 0).astype(str), "a mask of one part"),
    "a word for two parts": (np.where(CODE == 1, "eval", PARTS), "'split' is 'eval' at row 6, 7, 8. Allowed: train"),
    "a gap": (np.where(CODE == 1, "", PARTS), "'split' is '' at row 6"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_codes_masks_and_other_words_are_refused_with_a_remedy(case: str) -> None:
    split, says = REFUSED[case]
    with pytest.raises(UserError, match=says) as caught:
        read_parts(FILE, split)
    assert str(caught.value).startswith("'mine.npz': 'split'")


LINES = [
    (CODE, 'np.array(["train", "val", "test"])[split.astype(int)]'),
    (CODE + 1, 'np.select([split == 1, split == 2], ["train", "val"], "test")'),
]


@pytest.mark.parametrize(("split", "line"), LINES)
def test_the_lines_of_the_remedies_work(split: Any, line: str) -> None:
    with pytest.raises(UserError) as caught:
        read_parts(FILE, split)
    assert f"split = {line}" in str(caught.value)
    assert eval(line, {"np": np, "split": split}).tolist() == PARTS.tolist()
