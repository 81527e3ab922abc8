"""Files and folders of other forms: what is said of each, and that the lines that convert it do so as printed."""

import bz2
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest
import scipy.io
import torch
from PIL import Image

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.making import make_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.arrays import Arrays

COUNT = 12
Y = np.arange(COUNT) % 3
SPLIT = np.repeat(["train", "val", "test"], [6, 3, 3])
X = np.arange(COUNT * 4, dtype=np.float32).reshape(COUNT, 4) ** 2
ARRAYS = {"x_voice": X, "y": Y, "split": SPLIT}


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table() -> pandas.DataFrame:
    frame = pandas.DataFrame(X, columns=list("abcd"))
    frame["label"], frame["split"] = np.array(["cat", "dog", "owl"])[Y], SPLIT
    return frame


def write_torch(path: str) -> None:
    torch.save({"x_voice": torch.tensor(X), "y": torch.tensor(Y), "split": SPLIT.tolist()}, path)


def write_pickle(path: str) -> None:
    Path(path).write_bytes(pickle.dumps(ARRAYS))


def write_hdf5(path: str) -> None:
    with h5py.File(path, "w") as file:
        file["x_voice"], file["y"], file["split"] = X, Y, SPLIT.tolist()


def write_array(path: str) -> None:
    with Path(path).open("wb") as file:
        np.save(file, X)
    np.save("y.npy", Y)
    np.save("split.npy", SPLIT)


WRITERS: dict[str, Callable[[str], Any]] = {
    "csv": lambda path: table().to_csv(path, index=False),
    "tsv": lambda path: table().to_csv(path, index=False, sep="\t"),
    "parquet": lambda path: table().to_parquet(path),
    "feather": lambda path: table().to_feather(path),
    "json": lambda path: table().to_json(path),
    "jsonl": lambda path: table().to_json(path, orient="records", lines=True),
    "npy": write_array,
    "pt": write_torch,
    "pth": write_torch,
    "pkl": write_pickle,
    "pickle": write_pickle,
    "mat": lambda path: scipy.io.savemat(path, ARRAYS, appendmat=False),
    "h5": write_hdf5,
    "hdf5": write_hdf5,
}
BY_CONTENT = ("npy", "pt", "pkl", "mat", "h5", "parquet")  # told by their first bytes


def refusal(path: str) -> str:
    with pytest.raises(UserError) as caught:
        make_dataset(path, Path("data"), {}).facts()
    assert str(Path(path)) in str(caught.value)
    return str(caught.value)


def converted(text: str) -> Arrays:
    """What the lines make that the message prints."""
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(lines) == 3
    exec("\n".join(line.strip() for line in lines), {})
    return Arrays(Path("mine.npz"))


def check(data: Arrays) -> None:
    assert data.facts().task.classes == 3
    parts = data.load("file", 1, 0, tuple(data.facts().modalities))
    assert [len(part) for part in (parts.train, parts.val, parts.test)] == [6, 3, 3]
    assert parts.train.target.tolist() == Y[:6].tolist()
    (values,) = parts.train.values.values()
    expected = (X - X[:6].mean(0)) / X[:6].std(0)
    assert np.allclose(values, expected[:6], atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_lines_for_a_file_make_the_array_file(suffix: str) -> None:
    WRITERS[suffix](f"in.{suffix}")
    check(converted(refusal(f"in.{suffix}")))


@pytest.mark.parametrize("suffix", BY_CONTENT)
def test_a_file_under_a_wrong_name_is_told_by_its_content(suffix: str) -> None:
    WRITERS[suffix]("in.npz")
    text = refusal("in.npz")
    assert "is not an .npz" in text
    check(converted(text))


def test_a_folder_of_arrays() -> None:
    Path("kept").mkdir()
    for name, array in {"voice": X, "y": Y, "split": SPLIT}.items():
        np.save(f"kept/{name}.npy", array)
    data = converted(refusal("kept"))
    check(data)
    assert list(data.facts().modalities) == ["voice"]


def images(depth: int) -> Path:
    """Two classes, four pictures of each in each part or in all."""
    for part in ("train", "val", "test") if depth == 3 else ("",):
        for name in ("cat", "dog"):
            folder = Path("pictures", part, name)
            folder.mkdir(parents=True)
            for number in range(4 if depth == 3 else 40):
                Image.new("RGB", (9, 7), (number, 0, 99)).save(folder / f"{number}.png")
    return Path("pictures")


@pytest.mark.parametrize("depth", [2, 3])
def test_a_folder_of_images(depth: int) -> None:
    data = converted(refusal(str(images(depth))))
    assert data.facts().class_names == ("cat", "dog")
    assert data.facts().modalities["image"].shape == (3, 64, 64)
    sizes = {part: len(result) for part, result in data.labels("file", 1, 0).items()}
    assert sum(sizes.values()) == (24 if depth == 3 else 80)
    if depth == 3:
        assert sizes == {"train": 8, "val": 8, "test": 8}


def test_a_folder_of_an_array_per_sample() -> None:
    for name in ("cat", "dog"):
        Path("steps", name).mkdir(parents=True)
        for number in range(30):
            np.save(Path("steps", name, f"{number}.npy"), np.full((5, 2), number + 0.5))
    data = converted(refusal("steps"))
    assert data.facts().modalities["array"].shape == (5, 2)
    assert data.facts().class_names == ("cat", "dog")


FOLDERS: dict[str, tuple[dict[str, bytes], str]] = {
    "hugging face": ({"dataset_dict.json": b"{}", "train/data-00000.arrow": b""}, "datasets.load_from_disk('found')"),
    "an array file": ({"inner.npz": b""}, "Give the file in it: found/inner.npz"),
    "prepared": ({"x-1/manifest.json": json.dumps({"dataset": "ave"}).encode()}, "--dataset ave --data-root ."),
    "recordings": ({"a.wav": b"", "b.mp4": b""}, "folder of recordings"),
    "a table": ({"all.csv": b""}, "read_csv('found/all.csv')"),
    "nothing": ({}, "Save its samples as one .npz"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_other_folders_are_told_as_what_they_are(case: str) -> None:
    files, says = FOLDERS[case]
    Path("found").mkdir()
    for name, content in files.items():
        Path("found", name).parent.mkdir(exist_ok=True)
        Path("found", name).write_bytes(content)
    assert says in refusal("found")
    assert says in refusal("./found")


def test_names_that_lead_nowhere() -> None:
    assert "'none.csv' does not exist" in refusal("none.csv")
    assert "one recording" in refusal("clip.wav")
    assert "Files may end in .npz" in refusal("some/where")


def test_the_suffix_may_be_in_capitals() -> None:
    np.savez("mine.npz", **ARRAYS)  # type: ignore[arg-type]
    Path("mine.npz").rename("MINE.NPZ")
    assert registry.dataset("MINE.NPZ") is Arrays


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x_a": X, "label": Y, "split": SPLIT}, "Rename label to y"),
        ({"x_a": X, "y": Y, "subset": SPLIT}, "Rename subset to split"),
        ({"X_a": X, "y": Y, "split": SPLIT}, "Rename X_a to x_a"),
        ({"voice": X, "y": Y, "split": SPLIT}, "Rename voice to x_voice"),
        ({"X_train": X, "y_train": Y, "X_test": X, "y_test": Y}, "y = np.concatenate([y_train, y_test])"),
        ({"x_train": X, "y_train": Y, "x_val": X, "y_val": Y}, "np.repeat(['train', 'val'], [len(part)"),
        ({"x_a": SPLIT, "y": Y, "split": SPLIT}, "It is text ('train', ...): make vectors of it first"),
        ({"x_a": X.astype(str), "y": Y, "split": SPLIT}, "save x_a.astype('float32')"),
        ({"x_a": np.zeros(COUNT, [("u", "f4")]), "y": Y, "split": SPLIT}, "makes numbers of its columns"),
        ({"x_a": X + 1j, "y": Y, "split": SPLIT}, "It is complex: np.stack([x_a.real, x_a.imag], 1)"),
        ({"x_a": np.full(COUNT, "2020-01-01", "datetime64[D]"), "y": Y, "split": SPLIT}, "It holds times or dates"),
        ({"x_a": np.zeros((COUNT, 2, 1, 2, 1, 2)), "y": Y, "split": SPLIT}, "x_a.reshape(len(x_a), -1)"),
        (
            {"x_a": np.where(np.eye(X.shape[1])[0] > 0, np.nan, X), "y": Y, "split": SPLIT},
            "hold no number: column 0",
        ),
        ({"x_a": X, "y": Y, "split": SPLIT[:, None]}, "expected one axis. Save split.ravel()"),
        ({"x_a": X, "y": Y, "split": np.stack([SPLIT, SPLIT], 1)}, "such as split[:, 0]"),
        ({"x_a": X, "y": Y, "split": SPLIT, "class_names": np.array(["a", "b", "a"])}, "has 'a' at row 0 and 2"),
        ({"x_a": X, "y": Y.astype(object), "split": SPLIT}, "Save y = np.array(list(y))"),
        ({"x_a": X, "y": Y, "split": SPLIT.astype(object)}, "Save split = np.array(list(split))"),
    ],
)
def test_keys_and_dtypes_that_people_use_lead_to_a_remedy(arrays: dict[str, Any], says: str) -> None:
    np.savez("mine.npz", **arrays)
    assert says in refusal("mine.npz")


NOT_AN_NPZ = {
    "nothing": (b"", "'mine.npz' is empty"),
    "a web page": (b"\n<!DOCTYPE html><html>Sign in</html>", "It is a web page"),
    "a web page with a mark": (b"\xef\xbb\xbf<HTML>not found</HTML>", "It is a web page"),
    "packed": (gzip.compress(b"x_a"), "It is an archive: unpack it"),
    "packed by others": (bz2.compress(b"x_a"), "It is an archive: unpack it"),
}


@pytest.mark.parametrize("case", NOT_AN_NPZ)
def test_what_lies_under_the_name_of_an_npz(case: str) -> None:
    content, says = NOT_AN_NPZ[case]
    Path("mine.npz").write_bytes(content)
    assert says in refusal("mine.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_that_was_copied_in_text_mode(save: Any) -> None:
    rng = np.random.default_rng(0)
    save("mine.npz", x_a=rng.integers(0, 255, (COUNT, 400)).astype(np.uint8), y=Y, split=SPLIT)
    content = Path("mine.npz").read_bytes()
    Path("mine.npz").write_bytes(content.replace(b"\n", b"\r\n"))
    assert "copied in text mode (LF to CR LF)" in refusal("mine.npz")


@pytest.mark.parametrize("name", ["mine.zip", "mine.tar.gz", "mine.7z"])
def test_packed_files_are_to_be_unpacked(name: str) -> None:
    Path(name).write_bytes(b"PK")
    assert "It is an archive: unpack it" in refusal(name)


def test_the_lines_for_ragged_sequences_pad_them() -> None:
    x = np.empty(COUNT, object)
    for row in range(COUNT):
        x[row] = np.full((row % 4 + 1, 2), row + 1.0)
    np.savez("mine.npz", x_a=x, y=Y, split=SPLIT)
    lines = [line.strip() for line in refusal("mine.npz").splitlines() if line.startswith("  ")]
    names: dict[str, Any] = {"np": np, "x_a": x}
    exec("\n".join(lines), names)
    np.savez("mine.npz", x_a=names["padded"], length_a=names["n"], y=Y, split=SPLIT)
    assert Arrays(Path("mine.npz")).facts().modalities["a"].padded
    assert names["padded"][2].tolist() == [[3, 3], [3, 3], [3, 3], [0, 0]]
