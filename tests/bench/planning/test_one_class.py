"""A training part whose labels are all of one class is refused before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mcr_bench.bench.errors import UserError
from mcr_bench.cli import app
from mcr_bench.datasets.arrays import Arrays


def saved(path: Path, y: np.ndarray, split: np.ndarray, **more: np.ndarray) -> Path:
    draws = np.random.default_rng(0)
    x = {f"x_{m}": draws.normal(size=(len(y), 3)).astype("f4") for m in "ab"}
    np.savez(path, **x, y=y, split=split, **more)  # type: ignore[arg-type]
    return path


def test_parts_sorted_as_the_classes_are(tmp_path: Path) -> None:
    y, split = np.repeat([0, 1, 2], 20), np.repeat(["train", "val", "test"], 20)
    path = saved(tmp_path / "sorted.npz", y, split)
    found = CliRunner().invoke(app, ["run", "--methods", "joint", "--dataset", str(path), "--plan"])
    assert found.exit_code == 2
    assert "all 20 samples of the training part are of class '0'" in found.stderr
    assert "at least two classes" in found.stderr


def test_a_fold_of_groups_names_class_and_fold(tmp_path: Path) -> None:
    """Of three speakers one has class 'b': where it is not trained on, 'a' alone is left."""
    group = np.repeat(["s1", "s2", "s3"], 20)
    y = np.where((group == "s3") & (np.arange(60) % 2 == 0), "b", "a")
    split = np.repeat(["val", "test", "train"], 20)
    data = Arrays(saved(tmp_path / "groups.npz", y, split, group=group))
    data.require("file", 1)
    numbers = data.protocols()["groups"].folds
    refused = []
    for fold in numbers:
        try:
            data.require("groups", fold)
        except UserError as error:
            refused.append((fold, str(error)))
    assert len(refused) == len(numbers) - 1
    assert all("of class 'a'" in text and f"fold {fold}:" in text for fold, text in refused)


def test_two_classes_are_enough(tmp_path: Path) -> None:
    y = np.arange(60) % 3
    split = np.array(["train", "val", "test"])[np.arange(60) // 3 % 3]
    Arrays(saved(tmp_path / "mixed.npz", y, split)).require("file", 1)
    y[(split == "train") & (y == 2)] = 1
    Arrays(saved(tmp_path / "two.npz", y, split)).require("file", 1)
    y[split == "train"] = 1
    with pytest.raises(UserError, match="class '1'"):
        Arrays(saved(tmp_path / "one.npz", y, split)).require("file", 1)
