"""Several labels or scores per sample in an array file: what is read as what, and what is refused with a remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.audit.verify_text import text_of
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.contents.labels import Labels, read_labels
from mcr_bench.tests.support.records.several_files import COUNT, SPLIT, labels, save, scores

FILE, NAMES = Path("mine.npz"), ("drama", "comedy", "crime", "war")
HOT = np.eye(3)[np.arange(60) % 3]
SOME, FLOATS = labels(), scores()


def read(y: Any, names: tuple[str, ...] = (), task: str = "auto") -> Labels:
    return read_labels(FILE, np.asarray(y), names, task)


@pytest.mark.parametrize(
    ("y", "task", "kind"),
    [
        (SOME, "auto", "i"),
        (SOME.astype(bool), "auto", "i"),
        (SOME.astype(np.uint8), "multi-label", "i"),
        (SOME.astype(float), "multi-label", "i"),
        (HOT, "multi-label", "i"),
        (FLOATS, "auto", "f"),
        (FLOATS.astype("float32"), "regression", "f"),
        (np.arange(COUNT * 2).reshape(COUNT, 2), "regression", "f"),
        (SOME, "regression", "f"),
        (HOT, "regression", "f"),
    ],
)
def test_what_is_read(y: Any, task: str, kind: str) -> None:
    found = read(y, task=task).target
    assert found.dtype == {"i": np.int64, "f": np.float64}[kind]
    assert np.array_equal(found, y)


REFUSED: dict[str, tuple[Any, str, str]] = {
    "a label that is 2": (
        np.where(np.arange(COUNT * 4).reshape(COUNT, 4) == 13, 2, SOME),
        "auto",
        r"is 2 at row 3 \(c",
    ),
    "minus one for unknown": (SOME - 2 * (SOME == 0), "multi-label", "is -[12] at row .* a label is 0"),
    "counts": (np.arange(COUNT * 2).reshape(COUNT, 2), "auto", "For scores set dataset.task=regression"),
    "floats of 0 and 1": (SOME.astype(float), "auto", "task=multi-label, or --set dataset.task=regression"),
    "one-hot": (HOT, "auto", r"Save y = y\.argmax\(1\)\..*task=multi-label"),
    "probabilities": (np.full((9, 4), 0.25), "auto", r"y\.argmax\(1\).*task=regression"),
    "labels as classes": (SOME, "classification", "task=multi-label, or choose one column"),
    "scores as a class": (FLOATS, "classification", r"needs one. Choose one: y = y\[:, 0\]"),
    "scores as a sentiment": (FLOATS, "sentiment", "task=sentiment needs one"),
    "one label as labels": (SOME[:, 0], "multi-label", r"needs \(N, L\)"),
    "an additional axis": (SOME[:, :1], "multi-label", r"y = y\.ravel\(\)"),
    "an additional axis of scores": (FLOATS[:, :1], "auto", r"y = y\.ravel\(\)"),
    "three axes": (np.zeros((9, 2, 2)), "regression", "one column for each label or score"),
    "text": (np.array([["a", "b"], ["b", "c"]]), "auto", "one column for each label or score"),
    "NaN": (np.where(FLOATS > 150, np.nan, FLOATS), "auto", "NaN or infinite at row"),
    "too large": (FLOATS * 1e300, "auto", r"too large for float32 at row 0.*\(column 0\)"),
    "a constant score": (FLOATS * [1, 0, 1], "auto", r"column 1 of 'y' \(96, 3\).*np\.delete\(y, \[1\], axis=1\)"),
    "a constant label": (SOME * [1, 1, 0, 1], "auto", r"1 label \('2'\).*np\.delete\(y, \[2\], axis=1\)"),
    "sentiment beyond the scale": (np.linspace(-4, 3, 20), "sentiment", "is -4 at row 0.* scores from -3 to 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_with_a_remedy(case: str) -> None:
    y, task, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        read(y, task=task)


def test_names_are_those_of_the_labels() -> None:
    assert read(SOME, NAMES).names == NAMES
    with pytest.raises(UserError, match=r"class_names has 2 names, but 'y' .* has 4 labels"):
        read(SOME, ("a", "b"))
    with pytest.raises(UserError, match=r"1 label \('war'\)"):
        read(SOME * [1, 1, 1, 0], NAMES)
    assert "not used" in read(FLOATS, NAMES).notes[0]


def test_a_note_counts_samples_without_a_label() -> None:
    empty = int((SOME.sum(1) == 0).sum())
    assert empty > 0
    assert read(SOME).notes == (f"{empty} of {COUNT} samples have no label",)


def test_labels_in_a_file(tmp_path: Path) -> None:
    data = Arrays(save(tmp_path / "films.npz", SOME, class_names=np.array(NAMES)))
    facts = data.facts()
    assert (facts.task, facts.class_names) == (Task(None, labels=4), NAMES)
    assert data.protocols()["file"].metric == "subset_accuracy"
    assert data.acting({"task": "auto", "target_scale": "none"}) == {"task": "multi-label"}
    train = data.load("file", 1, 0, ("a", "b")).train
    assert train.target.numpy().dtype == np.float32
    assert np.array_equal(train.labels.numpy(), SOME[SPLIT == "train"])
    text = text_of(verification_of(data, content=False))
    for k, name in enumerate(NAMES):
        counts = [int(SOME[part == SPLIT, k].sum()) for part in ("train", "val", "test")]
        assert f"{name} {'/'.join(map(str, counts))}" in " ".join(text.split())
    assert "labels (train/validation/test)" in text


def test_scores_in_a_file(tmp_path: Path) -> None:
    data = Arrays(save(tmp_path / "pose.npz", FLOATS))
    assert data.facts().task == Task(None, "standard", scores=3)
    assert data.protocols()["file"].metric == "mae"
    assert data.acting({"task": "auto", "target_scale": "none"}) == {"task": "regression", "target_scale": "none"}
    assert np.array_equal(data.load("file", 1, 0, ("a",)).test.labels.numpy(), FLOATS[SPLIT == "test"])
    assert "scores: train" in text_of(verification_of(data, content=False))


def test_sentiment_in_a_file(tmp_path: Path) -> None:
    y = np.clip(scores(1)[:, 0], -3, 3)
    plain, mood = (Arrays(save(tmp_path / "mood.npz", y), task=task) for task in ("auto", "sentiment"))  # type: ignore[arg-type]
    assert (plain.facts().task.sentiment, mood.facts().task.sentiment) == (0, 3)
    assert mood.acting({"task": "sentiment"}) == {"task": "sentiment"}


def test_what_a_part_lacks_is_told(tmp_path: Path) -> None:
    y = SOME.copy()
    y[SPLIT == "train"] = y[SPLIT == "train"][0]
    with pytest.raises(UserError, match="48 samples of the training part have the same labels"):
        Arrays(save(tmp_path / "same.npz", y)).require("file", 1)
    pose = FLOATS.copy()
    pose[SPLIT == "train", 2] = 5.0
    with pytest.raises(UserError, match="column 2 of the targets"):
        Arrays(save(tmp_path / "still.npz", pose)).require("file", 1)
    y = SOME.copy()
    y[SPLIT == "train", 1] = 0
    data = Arrays(save(tmp_path / "absent.npz", y))
    assert data.load("file", 1, 0, ("a",)).notes == {"classes_absent_from_train": 1}


def test_a_column_that_is_a_label_is_found(tmp_path: Path) -> None:
    telling = np.column_stack([SOME[:, 2], np.arange(COUNT) % 7]).astype("float32")
    (finding,) = [f for f in Arrays(save(tmp_path / "told.npz", SOME, x_c=telling)).findings() if "label is" in f]
    assert finding.startswith("column 0 of 'x_c' is y[:, 2]")


def test_one_sample_under_two_sets_of_labels_is_a_relabelled_leak(tmp_path: Path) -> None:
    y, x = SOME.copy(), np.random.default_rng(0).normal(size=(COUNT, 4)).astype("float32")
    first, other = np.flatnonzero(SPLIT == "train")[0], np.flatnonzero(SPLIT == "test")[0]
    x[other] = x[first]
    y[first], y[other] = [1, 0, 0, 1], [1, 0, 0, 0]
    path = tmp_path / "leak.npz"
    np.savez(path, y=y, split=SPLIT, x_a=x)
    (overlap,) = verification_of(Arrays(path), content=False).protocols[0][1][0].overlaps
    assert (overlap.kind, overlap.shared, overlap.relabelled) == ("content", 1, 1)
