"""AV-MNIST: official .npy files, from raw to parts; wrong and damaged files are errors."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.av_mnist import AvMnist
from mcr_bench.datasets.base import Preparation
from mcr_bench.tests.support.media.array_files import write_digits as write


def prepared(folder: Path) -> AvMnist:
    data = AvMnist(folder / "data/av-mnist")
    data.prepare(Preparation(write(folder / "raw")))
    return data


def test_the_last_twelfth_of_the_training_part_validates(tmp_path: Path) -> None:
    splits = prepared(tmp_path).load("multibench", 1, 0, ("image", "audio"))
    assert splits.train.ids == [f"train-{row:05d}" for row in range(33)]
    assert splits.val.ids == [f"train-{row:05d}" for row in range(33, 36)]
    assert splits.test.ids == [f"test-{row:05d}" for row in range(12)]
    assert splits.test.target.tolist() == [row % 10 for row in range(12)]


def test_samples_are_those_of_the_files_standardised(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    train = data.load("multibench", 1, 0, ("image", "audio")).train
    values = train.batch(torch.arange(33)).inputs.values
    image = np.load(tmp_path / "raw/image/train_data.npy")[:33]
    assert values["image"].shape == (33, 1, 28, 28)
    assert values["audio"].shape == (33, 1, 112, 112)
    wanted = (image - image.mean()) / image.std()
    assert values["image"].reshape(33, -1).numpy() == pytest.approx(wanted, abs=1e-3)
    verified = verification_of(data, True)
    assert verified.damaged == []
    assert not verified.protocols[0][1][0].overlaps


def put(name: str, array: Array) -> Callable[[Path], None]:
    return lambda source: np.save(source / name, array)


def cut(source: Path) -> None:
    path = source / "audio/train_data.npy"
    path.write_bytes(path.read_bytes()[:5000])


def pointer(source: Path) -> None:
    (source / "image/test_data.npy").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: (source / "audio/test_data.npy").unlink(), r"audio/test_data\.npy' is missing"),
        (cut, r"audio/train_data\.npy' is truncated"),
        (pointer, "git-LFS pointer"),
        (put("image/train_data.npy", np.zeros((36, 783))), r"needed: 28 x 28 per sample"),
        (put("image/train_data.npy", np.zeros((35, 784))), "has 35 samples, but .*train_labels.* 36"),
        (put("train_labels.npy", np.full(36, 11)), "digits from 0 to 9"),
        (put("train_labels.npy", np.full(36, np.nan)), "digits from 0 to 9"),
        (put("test_labels.npy", np.array([{}] * 12, object)), "holds Python objects"),
        (put("test_labels.npy", np.array(["1"] * 12)), "needed: numbers"),
        (put("test_labels.npy", np.zeros(0)), "has no samples"),
        (lambda source: (source / "train_labels.npy").write_bytes(b"1,2,3"), "not an array of NumPy"),
    ],
)
def test_wrong_files_are_errors_that_name_them(change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    source = write(tmp_path / "raw")
    change(source)
    with pytest.raises(UserError, match=message):
        AvMnist(tmp_path / "data").prepare(Preparation(source))
    assert not (tmp_path / "data").exists()


def test_another_folder_is_an_error_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no AV-MNIST\. Expected:\nSOURCE/"):
        AvMnist(tmp_path / "data").prepare(Preparation(tmp_path))
    source = write(tmp_path / "raw/avmnist")
    with pytest.raises(UserError, match=f"Use --source '{source}'"):
        AvMnist(tmp_path / "data").prepare(Preparation(tmp_path / "raw"))
    with pytest.raises(UserError, match="Leave out --splits"):
        AvMnist(tmp_path / "data").prepare(Preparation(source, (source,)))


def test_a_sample_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    source = write(tmp_path / "raw")
    image = np.load(source / "image/train_data.npy")
    image[3, 5] = np.nan
    np.save(source / "image/train_data.npy", image)
    data = AvMnist(tmp_path / "data/av-mnist")
    assert "1 in quarantine" in data.prepare(Preparation(source))
    assert len(data.load("multibench", 1, 0, ("image",)).train) == 32


@pytest.mark.parametrize(("factor", "reaches"), [(1e-9, r"e-"), (1e5, r"e\+")])
def test_values_that_half_precision_cannot_hold_are_told(factor: float, reaches: str, tmp_path: Path) -> None:
    """Smaller ones became zeros without a word, larger ones infinities."""
    source = write(tmp_path / "raw")
    path = source / "audio/test_data.npy"
    np.save(path, (1 + np.abs(np.load(path).astype(np.float64))) * factor)
    data = AvMnist(tmp_path / "data/av-mnist")
    data.prepare(Preparation(source))
    problems = dict(data.inventory().left_out)
    assert len([id_ for id_ in problems if id_.startswith("test-")]) == 12
    assert re.search(rf"its audio reaches \S*{reaches}\S*, but half precision holds", problems["test-00000"])
