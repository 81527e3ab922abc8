"""What is told of the features of an array file before training: constants, images, ids, leaks; and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.datasets.arrays import Arrays

COUNT = 200
Y = np.arange(COUNT) * 7 % 3
SPLIT = np.repeat(["train", "val", "test"], [100, 50, 50])
DRAWS = np.random.default_rng(0)


def findings(tmp_path: Path, **values: Any) -> list[str]:
    path = tmp_path / "mine.npz"
    target = {"y": values.pop("y", Y), "split": SPLIT}
    np.savez(path, **target, **{key if key.startswith("length_") else f"x_{key}": x for key, x in values.items()})
    return Arrays(path).findings()


def noise(*shape: int) -> Any:
    return DRAWS.normal(size=(COUNT, *shape))


def pixels(*shape: int) -> Any:
    return DRAWS.integers(0, 256, (COUNT, *shape)).astype(np.uint8)


TWICE = Y[:, None] + np.array([0.5, 0])
FOUND: dict[str, tuple[dict[str, Any], str]] = {
    "a constant": ({"a": np.full((COUNT, 4), 2.5)}, "'x_a' is 2.5 in every training sample"),
    "only zeros": ({"a": np.zeros((COUNT, 5, 2))}, "'x_a' is 0 in every training sample"),
    "a constant where it is trained": ({"a": np.where(SPLIT[:, None] == "train", 1, noise(3))}, "no information"),
    "times in seconds": (
        {"a": np.column_stack([noise(1), 1.7e9 + np.arange(COUNT)])},
        "column 1 of 'x_a' has numbers such as 1700000128, which float32 holds in steps of 128: subtract the smallest",
    ),
    "one time": ({"a": 1.7e9 + noise(1)}, "float32 holds in steps of 128"),
    "times in each step": ({"a": 1.7e9 + noise(5, 2)}, "column 0 of 'x_a' has numbers such as 17000"),
    "mostly constant": ({"a": np.hstack([np.ones((COUNT, 5)), noise(2)])}, "5 of 7 columns of 'x_a' are the same"),
    "empty samples": ({"a": noise(4) * (np.arange(COUNT) % 10 > 0)[:, None]}, "20 of 200 samples of"),
    "channels last": ({"a": pixels(16, 16, 3)}, "read as 16 channels: save np.moveaxis(x_a, -1, -3)"),
    "channels last, of other sides": ({"a": noise(9, 30, 4)}, "read as 9 channels"),
    "grey with an axis": ({"a": pixels(12, 12, 1)}, "save np.moveaxis(x_a, -1, -3)"),
    "frames with channels last": ({"a": noise(4, 8, 8, 3)}, "read as 8 channels of each frame"),
    "grey images": ({"a": pixels(28, 28)}, "if these are grey images, save x_a[:, None]"),
    "words as numbers": ({"a": DRAWS.integers(0, 30000, (COUNT, 12))}, "whole numbers up to"),
    "words as floats": ({"a": DRAWS.integers(0, 30000, (COUNT, 12)).astype("f4")}, "a vector of 12 numbers"),
    "a category": ({"a": DRAWS.integers(0, 9, COUNT)}, "a vector of 1 number; if they are ids"),
    "the label": ({"a": np.column_stack([noise(3), Y])}, "column 3 of 'x_a' is y: the label is among the features"),
    "the label from 1": ({"a": np.column_stack([Y + 1, noise(3)])}, "column 0 of 'x_a' is y + 1"),
    "the score": ({"a": np.column_stack([noise(1), Y / 7]), "y": Y / 7}, "column 1 of 'x_a' is y"),
    "row numbers": ({"a": np.column_stack([noise(2), np.arange(COUNT) + 40])}, "column 2 of 'x_a' counts the samples"),
    "one modality twice": ({"a": TWICE, "b": TWICE}, "'x_a' and 'x_b' are equal"),
}


@pytest.mark.parametrize("case", FOUND)
def test_what_is_odd_is_told(case: str, tmp_path: Path) -> None:
    values, says = FOUND[case]
    assert any(says in line for line in findings(tmp_path, **values)), findings(tmp_path, **values)


USUAL: dict[str, dict[str, Any]] = {
    "vectors": {"a": noise(6)},
    "images": {"a": pixels(3, 16, 16), "b": pixels(1, 8, 8)},
    "clips": {"a": noise(4, 3, 8, 8)},
    "small maps": {"a": noise(6, 4, 3)},  # too small for an image
    "sequences": {"a": noise(20, 20)},
    "counts of words": {"a": DRAWS.integers(0, 4, (COUNT, 30))},
    "yes and no": {"a": DRAWS.integers(0, 2, COUNT)},
    "padded": {"a": pixels(9, 9) + 1, "length_a": np.arange(COUNT) % 9 + 1},
    "years": {"a": DRAWS.integers(1990, 2020, (COUNT, 2)) + noise(2)},
    "large numbers far apart": {"a": 1e9 * noise(3)},
    "some constant columns": {"a": np.hstack([np.ones((COUNT, 2)), noise(5)])},
}


@pytest.mark.parametrize("case", USUAL)
def test_what_is_usual_is_passed_over(case: str, tmp_path: Path) -> None:
    assert findings(tmp_path, **USUAL[case]) == []
