"""The words of `split`: those that are taken and told, and codes and masks that are refused with the line to use."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.split_names import missing_split, read_parts
from mcr_bench.datasets.contents.table import read_table

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


Y, GROUP = np.arange(20) % 2, np.arange(20) // 4
MASKS = {part: np.repeat(["train", "val", "test"], [12, 4, 4]) == part for part in ("train", "val", "test")}


def without_split(folder: Path, **more: Any) -> str:
    """What is said of a file without `split`."""
    np.savez(folder / "mine.npz", x_a=np.random.default_rng(0).normal(size=(20, 3)), y=Y, **more)
    with pytest.raises(UserError, match=r"has no 'split' \(it has x_a, y.*Expected: x_<modality>") as caught:
        read_table(folder / "mine.npz")
    return str(caught.value)


def made(said: str, **arrays: Any) -> Any:
    """What the line in a message makes of the arrays of the file."""
    line = re.search(r"split = (np\..*?)(?:\.$|\. Protocol|; )", said)
    assert line is not None, said
    split = eval(line[1], {"np": np, **arrays})
    if "; split[" in said:
        exec("split[" + said.split("; split[")[1].split(" (every")[0], {"np": np, "split": split})
    return split


@pytest.mark.parametrize("count", [3, 4, 7, 20, 1000])
def test_a_file_without_split_is_told_a_line_that_draws_one(count: int) -> None:
    split = made(missing_split({"x_a": np.ones((count, 2)), "y": np.zeros(count)}))
    counts = [(split == part).sum() for part in ("train", "val", "test")]
    assert len(split) == sum(counts) == count
    assert min(counts) >= 1
    assert count < 20 or counts == [0.7 * count, 0.15 * count, 0.15 * count]


def test_the_line_makes_a_file_that_is_read(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    for more in ({}, {"group": GROUP}):
        split = made(without_split(tmp_path, **more), **more)
        np.savez(tmp_path / "mine.npz", x_a=x, y=Y, split=split, **more)
        assert set(read_table(tmp_path / "mine.npz").part) == {"train", "val", "test"}


def test_groups_stay_together_in_the_line(tmp_path: Path) -> None:
    said = without_split(tmp_path, group=GROUP)
    assert "keeps groups together" in said
    assert "Protocol groups makes folds of its own, but needs a split in the file, too." in said
    split = made(said, group=GROUP)
    assert all(len(set(split[group == GROUP])) == 1 for group in range(5))
    assert "only 2 groups for three. Give smaller groups" in without_split(tmp_path, group=GROUP // 3)


@pytest.mark.parametrize("named", ["{}", "{}_mask", "mask_{}", "is_{}"])
def test_masks_of_the_parts_become_one_split(tmp_path: Path, named: str) -> None:
    masks = {named.format(part): mask for part, mask in MASKS.items()}
    said = without_split(tmp_path, **masks)
    assert "Make it of the masks, and leave these out of the file: split = np.select([" in said
    assert made(said, **masks).tolist() == np.repeat(["train", "val", "test"], [12, 4, 4]).tolist()


def test_two_masks_give_some_of_train_to_val(tmp_path: Path) -> None:
    masks = {"train": ~MASKS["test"], "test": MASKS["test"]}
    split = made(without_split(tmp_path, **masks), **masks)
    assert split.tolist() == ["val", *["train"] * 9, "val", *["train"] * 5, *["test"] * 4]


def test_a_split_under_another_name_is_renamed_not_drawn(tmp_path: Path) -> None:
    said = without_split(tmp_path, part=np.repeat(["train", "test"], 10))
    assert said.endswith("Rename part to split.")


INDICES = {part: np.flatnonzero(mask) for part, mask in MASKS.items()}


def filled(said: str, **arrays: Any) -> Any:
    """What the lines in a message make of the numbers of samples."""
    line = re.search(r"(split = np\.full.*?)(?: \(every|\. Samples)", said)
    assert line is not None, said
    known = {"np": np, "y": Y, **arrays}
    exec(line[1], known)
    return known["split"]


@pytest.mark.parametrize("named", ["{}_idx", "idx_{}", "{}_indices", "{}"])
def test_numbers_of_the_samples_of_the_parts_become_one_split(tmp_path: Path, named: str) -> None:
    """Joined, as arrays of parts are, they would become labels."""
    indices = {named.format(part): numbers for part, numbers in INDICES.items()}
    said = without_split(tmp_path, **indices)
    assert "leave these arrays out of the file" in said
    assert filled(said, **indices).tolist() == np.repeat(["train", "val", "test"], [12, 4, 4]).tolist()


def test_numbers_of_two_parts_give_some_of_train_to_val(tmp_path: Path) -> None:
    indices = {"train_idx": np.arange(16), "test_idx": np.arange(16, 20)}
    split = filled(without_split(tmp_path, **indices), **indices)
    assert split.tolist() == ["val", *["train"] * 9, "val", *["train"] * 5, *["test"] * 4]


@pytest.mark.parametrize(
    "wrong", [{"train_idx": np.arange(16), "test_idx": np.arange(12, 20)}, {"train": np.arange(16), "test": [20, 21]}]
)
def test_numbers_that_no_split_can_be_made_of_are_not_used(tmp_path: Path, wrong: dict[str, Any]) -> None:
    said = without_split(tmp_path, **wrong)
    assert "Make it of the numbers of samples" not in said
    assert "y = " not in said, "labels that the file has are not replaced"
