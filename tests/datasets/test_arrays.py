"""Data in array form: what a good file gives, and that every bad file is refused by name, key, row and remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays
from mcr_bench.datasets.base import Split, Splits, standardise

SPLIT = ["train"] * 6 + ["val"] * 3 + ["test"] * 3


def good(**changes: Any) -> dict[str, Any]:
    """12 samples of 3 classes; a change to None leaves the key out."""
    draws = np.random.default_rng(0)
    arrays = {
        "x_b": draws.normal(size=(12, 4)),
        "x_a": draws.normal(size=(12, 5, 2)).astype(np.float16),
        "y": np.arange(12) % 3,
        "split": np.array(SPLIT),
        "group": np.repeat(np.arange(4), 3),
        "id": np.array([f"clip{i}" for i in range(12)]),
        **changes,
    }
    return {k: v for k, v in arrays.items() if v is not None}


def at(rows: dict[int, Any], key: str) -> dict[str, Any]:
    """The good file with some entries of one array replaced."""
    array = good()[key].copy()
    for row, value in rows.items():
        array[row] = value
    return {key: array}


def save(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **good(**changes))
    return path


def load(path: Path, **dials: Any) -> Splits:
    data = Arrays(path, **dials)
    return data.load("file", 1, 0, tuple(data.facts().modalities))


def test_a_file_is_found_by_its_suffix_and_labelled_by_its_name(tmp_path: Path) -> None:
    path = save(tmp_path)
    assert dataset(str(path)) is Arrays
    assert Arrays(path).label == "mine.npz"


def test_facts_and_parts(tmp_path: Path) -> None:
    path = save(tmp_path, class_names=np.array(["one", "two", "three", "four"]))
    facts = Arrays(path).facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"b": (4,), "a": (5, 2)}
    assert facts.task.classes == 4
    assert facts.class_names == ("one", "two", "three", "four")
    assert facts.notes == ("no part has a sample of 1 class ('four')",)
    parts = load(path)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [6, 3, 3]
    assert parts.val.ids == ["clip6", "clip7", "clip8"]
    assert parts.val.groups == ["2", "2", "2"]
    assert parts.test.target.tolist() == [0, 1, 2]
    assert parts.train.values["a"].dtype == torch.float32
    assert Arrays(path).protocols()["file"].metric == "accuracy"


@pytest.mark.parametrize("unit", [1e-13, 1e-30, 1.0, 1e20])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_unit_of_a_modality_does_not_matter(tmp_path: Path, unit: float, offset: float) -> None:
    """Magnetic fields in tesla deviate by 1e-13. Values of float32, so that only the unit differs."""
    x = np.random.default_rng(1).normal(size=(12, 4)) + offset
    x[:, 2] = offset  # the constant channel stays one
    asked = load(save(tmp_path, x_b=x)).train.values["b"]
    got = load(save(tmp_path, x_b=x * unit)).train.values["b"]
    torch.testing.assert_close(got, asked, rtol=1e-4, atol=1e-4)
    assert asked.std(0, correction=0).tolist() == pytest.approx([1, 1, 0, 1], abs=1e-4)


def test_blanks_around_classes_do_not_matter(tmp_path: Path) -> None:
    names = np.array(["calm ", " angry", "sad"])
    facts = Arrays(save(tmp_path, y=names[np.arange(12) % 3], class_names=names)).facts()
    assert facts.class_names == ("calm", "angry", "sad")
    assert load(save(tmp_path, y=names[np.arange(12) % 3], class_names=names)).val.target.tolist() == [0, 1, 2]


def test_asked_modalities_come_in_the_files_order(tmp_path: Path) -> None:
    data = Arrays(save(tmp_path))
    assert list(data.load("file", 1, 0, ("a", "b")).train.values) == ["b", "a"]
    assert list(data.load("file", 1, 0, ("a",)).train.values) == ["a"]
    with pytest.raises(UserError, match="unknown modality 'c'"):
        data.load("file", 1, 0, ("c",))


def test_float_targets_are_regression(tmp_path: Path) -> None:
    data = Arrays(save(tmp_path, y=np.linspace(-3, 3, 12)))
    assert data.facts().task.regression
    assert data.protocols()["file"].metric == "mae"
    assert load(data.location).train.target.dtype == torch.float32


def test_one_number_per_sample_is_a_vector_of_one(tmp_path: Path) -> None:
    assert load(save(tmp_path, x_b=np.arange(12))).train.values["b"].shape == (6, 1)


def test_rows_name_samples_without_ids(tmp_path: Path) -> None:
    parts = load(save(tmp_path, id=None, group=None, split=np.array(SPLIT, dtype="S5")))
    assert parts.test.ids == ["9", "10", "11"]
    assert parts.test.groups is None


def test_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, same = save(tmp_path), save(tmp_path / "other")
    before = Arrays(first).fingerprint()
    assert Arrays(same).fingerprint() == before
    assert Arrays(save(tmp_path, **at({0: 2}, "y"))).fingerprint() != before


def test_statistics_come_from_the_training_part_only(tmp_path: Path) -> None:
    x = np.zeros((12, 2))
    x[:6, 0] = [0, 0, 0, 2, 2, 2]  # mean 1, deviation 1
    x[6:, 0] = 5
    x[:, 1] = 7
    parts = load(save(tmp_path, x_b=x))
    assert parts.train.values["b"][:, 0].tolist() == [-1, -1, -1, 1, 1, 1]
    assert parts.test.values["b"][:, 0].tolist() == [4, 4, 4]
    assert parts.train.values["b"][:, 1].abs().max() == 0


def test_images_and_clips_are_standardised_per_channel(tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    scale = np.array([1, 10, 100])[:, None, None]
    image, clip = draws.normal(size=(12, 3, 4, 4)) * scale, draws.normal(size=(12, 2, 3, 4, 4)) * scale
    parts = load(save(tmp_path, x_b=image, x_a=clip))
    assert torch.allclose(parts.train.values["b"].std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert torch.allclose(parts.train.values["a"].std((0, 1, 3, 4), correction=0), torch.ones(3), atol=1e-5)


def test_padded_steps_count_for_nothing_and_stay_zero(tmp_path: Path) -> None:
    x = np.full((12, 3, 1), np.nan)
    lengths = np.array([1, 2, 3] * 4)
    for row, n in enumerate(lengths):
        x[row, :n, 0] = row
    parts = load(save(tmp_path, x_a=x, length_a=lengths))
    real = np.array([0, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 5])
    a = parts.train.values["a"][..., 0]
    assert a[0].tolist() == pytest.approx([-real.mean() / real.std(), 0, 0])
    assert a[5].tolist() == pytest.approx([(5 - real.mean()) / real.std()] * 3)
    assert parts.test.values["a"][1, 2, 0] == 0
    assert parts.val.lengths["a"].tolist() == [1, 2, 3]
    assert Arrays(tmp_path / "mine.npz").facts().modalities["a"].padded


def test_the_mean_sample_ignores_padded_steps() -> None:
    x = torch.tensor([[1.0, 0.0, 0.0], [3.0, 5.0, 0.0]])[..., None]
    part = Split({"a": x}, torch.zeros(2), ["0", "1"], lengths={"a": torch.tensor([1, 2])})
    assert part.mean()["a"][:, 0].tolist() == [2, 5, 0]


def test_standardise_leaves_lengths_alone() -> None:
    def part() -> Split:
        x = torch.tensor([[[1.0], [9.0]], [[3.0], [0.0]]])
        return Split({"a": x}, torch.zeros(2), ["0", "1"], lengths={"a": torch.tensor([2, 1])})

    done = standardise(Splits(part(), part(), part()))
    assert done.train.lengths["a"].tolist() == [2, 1]
    assert done.train.values["a"][1, 1, 0] == 0


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no features", {"x_a": None, "x_b": None}, "no 'x_<modality>'"),
    ("no target", {"y": None}, "no 'y'"),
    ("no split", {"split": None}, "no 'split'"),
    ("a misspelt key", {"groups": np.arange(12)}, "unknown key 'groups'. Did you mean group"),
    ("an impossible name", {"x_a.b": np.zeros((12, 1))}, "'a.b' cannot name a modality"),
    ("a name torch uses", {"x_values": np.zeros((12, 1))}, "'values' cannot name a modality"),
    ("lengths differ", {"x_b": np.zeros((11, 4))}, r"'x_b' has shape \(11, 4\), but 'y' has 12 rows"),
    ("a scalar", {"group": np.array(3)}, "'group' has shape"),
    ("two axes of targets", {"y": np.zeros((12, 1), dtype=int)}, "'y' has shape"),
    ("other split names", at({7: "eval"}, "split"), "'split' is 'eval' at row 7. Allowed: train, val, test"),
    ("an empty split", {"split": np.array(["train"] * 6 + ["val"] * 6)}, "the test split is empty"),
    ("NaN", at({4: np.nan, 8: np.nan}, "x_b"), r"'x_b' is NaN or infinite .* at row 4, 8 \(id 'clip4'\)"),
    ("infinity", at({3: np.inf}, "x_a"), "'x_a' is NaN or infinite"),
    (
        "too large for float32",
        at({2: 3e300}, "x_b"),
        r"'x_b' is 3e\+300 at row 2 \(id 'clip2'\), too large for float32 \(at most 3\.4e\+38\)\. Divide it, such as "
        r"x_b / 1e300\.",
    ),
    (
        "too large for float32, and infinite elsewhere",
        {"x_b": np.where(np.arange(48).reshape(12, 4) == 9, -2e39, np.inf)},
        r"'x_b' is -2e\+39 at row 2 .*x_b / 1e39\.",
    ),
    ("text features", {"x_b": np.array(["a"] * 12)}, "'x_b' has dtype <U1"),
    ("no columns", {"x_b": np.zeros((12, 0))}, r"'x_b' has shape \(12, 0\), which holds no value"),
    ("six axes", {"x_b": np.zeros((12, 1, 1, 1, 1, 1))}, "at most 5 axes"),
    ("a label beyond all samples", {"y": np.array([0, 1, 2, 3_000_000] * 3)}, "Number the classes 0..C-1"),
    ("one class as text", {"y": np.array(["cat"] * 12)}, "'y' is 'cat' in every sample. Save samples of at least 2"),
    ("a negative label", at({5: -1}, "y"), "'y' is -1 at row 5; allowed: 0 and up"),
    (
        "a label too large",
        {"class_names": np.array(["a", "b"])},
        r"'y' is 2 at row 2, 5, 8 and 1 more; allowed: 0\.\.1",
    ),
    ("one class", {"y": np.zeros(12, dtype=int)}, "at least 2"),
    ("a NaN score", {"y": np.array([np.nan] + [0.5] * 11)}, "'y' is NaN or infinite at row 0"),
    ("ids twice", at({9: "clip2"}, "id"), r"id 'clip2' occurs more than once \(row 2, 9\)"),
    ("a group in two splits", at({6: 1}, "group"), "group '1' is in train and .row 6. in val"),
    ("an object array", {"x_b": np.array([[1], [2, 3]] * 6, dtype=object)}, "'x_b' is an array of Python objects"),
    ("no sequence", {"length_b": np.ones(12, dtype=int)}, "'x_b' holds float64 of shape.*leave 'length_b' out"),
    ("lengths as floats", {"length_a": np.full(12, 2.0)}, r"'length_a' holds float64.*length_a\.astype\(int\)"),
    ("ids of words as floats", {"x_b": np.ones((12, 7)), "length_b": np.ones(12, int)}, r"x_b\.astype\(int\)"),
    ("groups that differ in blanks", {"group": np.array(["g", "g "] * 6)}, "group 'g' is in"),
    ("ids that differ in blanks", {"id": np.array([f"s{n // 2}{' ' * (n % 2)}" for n in range(12)])}, "more than once"),
    ("a length of nothing", {"length_c": np.ones(12, dtype=int)}, "unknown key 'length_c'"),
    ("a length too long", {"length_a": np.full(12, 6)}, r"'length_a' is 6 at row 0.*allowed: 1\.\.5"),
    ("a length of 0", {"length_a": np.arange(12) % 5}, "'length_a' is 0 at row 0"),
]


@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_content_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        Arrays(path).facts()
    assert str(path) in str(caught.value)


def test_a_group_in_two_splits_can_be_accepted(tmp_path: Path) -> None:
    path = save(tmp_path, **at({6: 1}, "group"))
    assert len(load(path, allow_group_overlap=True).val) == 3
    assert "two splits" in Arrays(path, allow_group_overlap=True).protocols()["file"].card


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Arrays(tmp_path / "none.npz").facts()
    with pytest.raises(UserError, match="is not a file"):
        Arrays(tmp_path).facts()


def test_a_pointer_a_truncated_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    whole = path.read_bytes()
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (whole[: len(whole) // 2], "truncated"),
        (b"", "truncated"),
        (b"x,y\n1,2\n", "another format"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            Arrays(path).facts()


def test_a_damaged_array_is_named(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = bytearray(path.read_bytes())
    start = content.index(b"x_b.npy") + 200
    content[start : start + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(UserError, match="'x_b' cannot be read"):
        Arrays(path).facts()


def grouped(folder: Path, groups: Any, y: Any = None) -> Arrays:
    """A file of one modality whose split has nothing to do with its groups."""
    count = len(groups)
    split = np.resize(["train", "val", "test"], count)
    path = folder / "grouped.npz"
    np.savez(path, x_a=np.arange(count * 2.0).reshape(count, 2), y=np.arange(count) % 2 if y is None else y,
             split=split, group=groups)  # fmt: skip
    return Arrays(path, allow_group_overlap=True)


def held(data: Arrays, fold: int) -> list[list[str]]:
    """The groups in train, validation and test of a fold."""
    parts = data.load("groups", fold, 0, ("a",))
    return [sorted(set(p.groups or []), key=lambda g: (len(g), g)) for p in (parts.train, parts.val, parts.test)]


def test_up_to_ten_groups_are_left_out_one_at_a_time(tmp_path: Path) -> None:
    data = grouped(tmp_path, np.repeat([10, 9, 2, 1], 3))
    assert data.protocols()["groups"].folds == (1, 2, 3, 4)
    assert list(data.protocols()) == ["file", "groups"]
    assert held(data, 1) == [["9", "10"], ["2"], ["1"]]
    assert held(data, 3) == [["1", "2"], ["10"], ["9"]]
    assert held(data, 4) == [["2", "9"], ["1"], ["10"]]
    card = data.protocols()["groups"].card
    assert "one of 4 groups left out at a time" in card
    assert "folds share training data" in card


@pytest.mark.parametrize("count", [3, 10, 11, 14, 40])
def test_each_group_is_tested_once_and_is_never_in_two_parts(tmp_path: Path, count: int) -> None:
    data = grouped(tmp_path, np.resize([f"g{i}" for i in range(count)], 2 * count))
    folds = data.protocols()["groups"].folds
    assert folds == tuple(range(1, min(count, 10) + 1))
    result = [held(data, fold) for fold in folds]
    assert sorted(g for _, _, test in result for g in test) == sorted(f"g{i}" for i in range(count))
    for parts in result:
        assert all(parts)
        assert sum(map(len, parts)) == len({g for part in parts for g in part}) == count


def test_fewer_than_three_groups_give_no_folds(tmp_path: Path) -> None:
    assert list(grouped(tmp_path, ["a", "b"] * 6).protocols()) == ["file"]
    with pytest.raises(UserError, match=r"unknown protocol of grouped.npz 'groups'. Known: file"):
        grouped(tmp_path, ["a", "b"] * 6).load("groups", 1, 0, ("a",))
    with pytest.raises(UserError, match="fold 4: protocol groups has folds 1 to 3"):
        grouped(tmp_path, ["a", "b", "c"] * 4).load("groups", 4, 0, ("a",))


def test_classes_that_a_fold_does_not_train_are_a_finding(tmp_path: Path) -> None:
    data = grouped(
        tmp_path, np.repeat(["a", "b", "c", "d"], 3), y=np.repeat([0, 1, 0, 1], 3) + np.repeat([0, 0, 0, 1], 3)
    )
    card = data.protocols()["groups"].card
    # class 1 is in b alone and class 2 in d: folds test a, b, c, d in turn and validate on the next
    told = ("1 class ('1') in fold 1", "1 class ('1') in fold 2", "1 class ('2') in fold 3", "1 class ('2') in fold 4")
    assert f"; absent from train: {', '.join(told)}" in card
    assert data.load("groups", 1, 0, ("a",)).notes == {"classes_absent_from_train": 1}
    assert "absent" not in grouped(tmp_path, ["a", "b", "c"] * 4).protocols()["groups"].card
