"""Labels as people save them: what is taken and told, and what is refused with the line that helps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.labels import Labels, read_labels
from mcr_bench.datasets.contents.words import as_text

COUNT = 60
THREE = np.arange(COUNT) % 3
TEXT = np.array(["cat", "dog", "owl"])
FILE = Path("mine.npz")


def read(y: Any, names: tuple[str, ...] = (), task: str = "auto") -> Labels:
    return read_labels(FILE, np.asarray(y), names, task)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_floats_that_may_be_classes_are_refused_with_both_answers(first: int, dtype: str, classes: int) -> None:
    y = (np.arange(COUNT) % classes + first).astype(dtype)
    with pytest.raises(UserError, match="whole numbers") as caught:
        read(y)
    assert "dataset.task=classification" in str(caught.value)
    assert "dataset.task=regression" in str(caught.value)
    assert read(y, task="classification").target.tolist() == (np.arange(COUNT) % classes).tolist()
    assert read(y, task="regression").target.tolist() == y.tolist()
    assert read(y, task="regression").target.dtype == np.float64


@pytest.mark.parametrize(
    "y",
    [
        np.arange(COUNT) % 12 * 2.0,  # gaps
        np.arange(COUNT) % 4 - 1.0,  # from -1
        np.arange(COUNT) % 20 * 1.0,  # three samples of each
        np.arange(51 * 5) % 51 * 1.0,  # more than 50
        np.arange(COUNT) + 25.0,
    ],
)
def test_other_whole_floats_are_scores_and_told(y: Any) -> None:
    result = read(y)
    assert result.target.dtype == np.float64
    (note,) = result.notes
    assert "learned as scores; if they are classes, set dataset.task=classification" in note


def test_bounds_of_the_ambiguity() -> None:
    """50 classes of 5 samples are the last that may be either."""
    with pytest.raises(UserError, match="0 to 49 as floats"):
        read(np.arange(250) % 50 * 1.0)
    assert read(np.arange(249) % 50 * 1.0).target.dtype == np.float64  # one class has 4


def test_other_floats_are_scores_without_a_word() -> None:
    assert read(np.linspace(-3, 3, COUNT)).notes == ()


def test_whole_numbers_can_be_scores() -> None:
    result = read(THREE + 25, task="regression")
    assert (result.target.dtype, result.target[:3].tolist(), result.notes) == (np.float64, [25, 26, 27], ())


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_labels_from_one_leave_no_class_empty(dtype: Any) -> None:
    result = read((THREE + 1).astype(dtype), task="classification")
    assert result.target.tolist() == THREE.tolist()
    assert result.names == ("1", "2", "3")
    (note,) = result.notes
    assert "labels are 1 to 3" in note


def test_labels_from_one_keep_the_names_of_the_file() -> None:
    result = read(THREE + 1, ("cat", "dog", "owl"))
    assert (result.target.tolist(), result.names) == (THREE.tolist(), ("cat", "dog", "owl"))
    four = read(THREE + 1, ("none", "cat", "dog", "owl"))  # class 0 has a name: nothing is shifted
    assert four.target.tolist() == (THREE + 1).tolist()
    assert four.notes == ("no part has a sample of 1 class ('none')",)


def test_numbers_that_are_skipped_are_told() -> None:
    result = read(np.array([0, 1, 3])[THREE])
    assert result.target.max() == 3
    assert "no part has a sample of 1 class ('2')" in result.notes[0]
    assert "np.unique(y, return_inverse=True)[1]" in result.notes[0]


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_text_becomes_classes_in_sorted_order(dtype: str) -> None:
    result = read(np.array(["owl", "cat", "dog"]).astype(dtype)[THREE])
    assert result.names == ("cat", "dog", "owl")
    assert result.target[:3].tolist() == [2, 0, 1]
    (note,) = result.notes
    assert "'cat', 'dog', 'owl'" in note


def test_text_follows_the_order_of_class_names() -> None:
    result = read(TEXT[THREE], ("owl", "dog", "cat"))
    assert (result.names, result.target[:3].tolist(), result.notes) == (("owl", "dog", "cat"), [2, 1, 0], ())


def test_text_of_whole_numbers_is_sorted_by_value_and_spaces_do_not_count() -> None:
    assert read(np.array(["10", "9", "1"])[THREE]).names == ("1", "9", "10")
    assert read(np.array(["a ", " a", "b"])[THREE]).names == ("a", "b")
    assert any("may be one class" in note for note in read(np.array(["Cat", "cat", "owl"])[THREE]).notes)


def ages(count: int) -> Any:
    return np.arange(count) % 60 + 18


def test_whole_numbers_that_may_be_scores() -> None:
    with pytest.raises(UserError, match=r"60 different whole numbers from 18 to 77.*dataset.task=regression"):
        read(ages(240))
    assert "if they are scores, set dataset.task=regression" in read(ages(600)).notes[0]
    assert not any("scores" in note for note in read(ages(240), task="classification").notes)
    assert read(np.arange(240) % 68).notes == ()  # numbered without gaps: classes, however many


def one_hot(classes: int) -> Any:
    return np.eye(classes)[THREE]


REFUSED: dict[str, tuple[Any, str]] = {
    "one-hot": (one_hot(3), r"\(60, 3\), expected \(N,\): one-hot labels\. Save y = y\.argmax\(1\)"),
    "one-hot of whole numbers, a class empty": (one_hot(5).astype(int), r"y = y\.argmax\(1\)"),
    "one-hot of booleans": (one_hot(3).astype(bool), r"y = y\.argmax\(1\)"),
    "one-hot, a column each": (one_hot(3).T, r"y = y\.argmax\(0\)"),
    "a column": (THREE[:, None], r"y = y\.ravel\(\)"),
    "a row": (THREE[None], r"y = y\.ravel\(\)"),
    "a column of text": (TEXT[THREE][:, None], r"y = y\.ravel\(\)"),
    "three axes of one": (np.zeros((COUNT, 1, 1)), r"y = y\.ravel\(\)"),
    "probabilities": (np.full((COUNT, 4), 0.25), r"probabilities.*y = y\.argmax\(1\)"),
    "a label per step": (np.zeros((COUNT, 5, 2), int), "one column for each label or score"),
    "one value": (np.array(3), "one label per sample"),
    "no value": (np.zeros(0), "one label per sample"),
    "a gap in text": (np.array(["cat", "", "owl"])[THREE], r"'y' is '' at row 1, 4, 7 and 17 more"),
    "what pandas writes for a gap": (np.array(["cat", "nan", "owl"])[THREE], "Remove samples without a label"),
    "captions": (np.array([f"a man {i}" for i in range(COUNT)]), "60 different texts in 60 samples"),
    "scores as text": (
        np.linspace(0, 1, COUNT).astype(str),
        r"scores save y = y\.astype\(float\)\. For classes save whole numbers, or names that are not numbers, such as",
    ),
    "scores with a decimal comma": (
        np.array([f"{v:.2f}".replace(".", ",") for v in np.linspace(-1, 1, COUNT)]),
        r"save y = np\.char\.replace\(y, ',', '\.'\)\.astype\(float\)",
    ),
    "classes as text of floats": (
        THREE.astype(float).astype(str),
        r"scores save y = y\.astype\(float\)\. For classes save whole numbers, y = y\.astype\(float\)\.astype\(int\), "
        "or names",
    ),
    "minus one and one": (np.where(THREE > 0, 1, -1), r"'y' is -1 at row 0.*Save y = \(y \+ 1\) // 2"),
    "minus one for none": (np.where(THREE > 1, -1, THREE), "Leave samples without a label out"),
    "complex": (THREE + 0j, "dtype complex128. Give class indices"),
    "dates": (np.array(["2020-01-01"] * COUNT, "datetime64[D]"), "dtype datetime64"),
    "a table": (np.array([(i,) for i in THREE], [("label", "i8")]), r"y = y\['label'\]"),
    "one score": (np.full(COUNT, 1.5), "'y' is 1.5 in every sample: there is nothing to learn"),
    "all true": (np.ones(COUNT, bool), "'y' is 1 in every sample. Save samples of at least 2 classes"),
    "NaN": (np.where(THREE > 1, np.nan, THREE), "NaN or infinite at row 2, 5, 8 and 17 more. Remove these"),
    "too large": (np.linspace(0, 1e300, COUNT), "too large for float32 at row 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_label_is_refused_with_a_remedy(case: str) -> None:
    y, says = REFUSED[case]
    with pytest.raises(UserError, match=says) as caught:
        read(y)
    assert str(caught.value).startswith("'mine.npz': ")
    assert "'y'" in str(caught.value)


def test_tasks_that_do_not_fit_the_labels() -> None:
    with pytest.raises(UserError, match=r"'y' is 0\.5 at row 1.*needs whole numbers"):
        read(THREE * 0.5, task="classification")
    with pytest.raises(UserError, match="is text"):
        read(TEXT[THREE], task="regression")
    with pytest.raises(UserError, match=r"unknown class 'dog'\. Did you mean dig"):
        read(TEXT[THREE], ("cat", "dig", "owl"))
    assert read(np.linspace(0, 1, COUNT), ("a",)).notes == ("class_names is not used: the target is a score",)


def test_bytes_of_another_encoding_stay_apart() -> None:
    """Replaced by one mark, two names of Latin-1 were one class, and two speakers one group that leaks."""
    names = as_text(np.array([b"caf\xe9", b"caf\xe8", "été".encode()]))
    assert names.tolist() == ["caf\\xe9", "caf\\xe8", "été"]
