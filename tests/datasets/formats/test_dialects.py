"""Pickles in the form of other projects: named, and the conversion that the message gives works."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.formats.dialects import CONVERT, dialect_of
from mcr_bench.datasets.formats.multibench import read_multibench
from mcr_bench.datasets.mosi import Mosi

EXTRA = ("regression_labels_T", "regression_labels_A", "regression_labels_V")


def mmsa(video: str, count: int, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """A part of MMSA's aligned_50.pkl."""
    draws = np.random.default_rng(count)
    return {
        "raw_text": np.array(["A SENTENCE"] * count),
        "text": draws.normal(size=(count, 5, 8)).astype(np.float32),
        "text_bert": draws.normal(size=(count, 3, 5)).astype(np.float32),
        "audio": draws.normal(size=(count, 5, 3)),
        "vision": draws.normal(size=(count, 5, 4)),
        "id": [f"{video}$_${n}" for n in range(count)],
        "audio_lengths": [5] * count,
        "vision_lengths": [5] * count,
        "annotations": ["Positive"] * count,
        "classification_labels": np.ones(count, np.float32),
        "regression_labels": draws.uniform(-3, 3, count).astype(np.float32),
        **{key: np.zeros(count, np.float32) for key in extra},
    }


def stored(folder: Path, content: object) -> Path:
    path = folder / "mosi_data.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("extra", [(), EXTRA], ids=["MOSI", "SIMS"])
def test_mmsa_is_named_and_converts_as_the_message_says(tmp_path: Path, extra: tuple[str, ...]) -> None:
    videos = {"train": ("03bSnISJMiM", 4), "valid": ("c5xsKMxpXnc", 2), "test": ("tmZoasNr4rU", 2)}
    data = {part: mmsa(*of, extra) for part, of in videos.items()}
    with pytest.raises(
        UserError, match=r"(?s)has the format of MMSA \(annotations, .*raw_text.*\), not of Multi"
    ) as told:
        read_multibench(stored(tmp_path, data))
    assert CONVERT in str(told.value)
    names: dict[str, Any] = {"data": data, "numpy": np}
    exec(CONVERT, names)
    made = Mosi(tmp_path / "data/mosi", text_channels=8, audio_channels=3, video_channels=4)
    (tmp_path / "raw").mkdir()
    stored(tmp_path / "raw", names["new"])
    made.prepare(Preparation(tmp_path / "raw"))
    assert len(made.cache.index.ids) == 8
    assert made.cache.index.labels[0] == pytest.approx(data["train"]["regression_labels"][0])


@pytest.mark.parametrize(
    "kept", [{"text", "audio", "vision", "id", "regression_labels", "classification_labels"}, None]
)
def test_some_of_the_keys_are_enough(kept: set[str] | None) -> None:
    part = mmsa("03bSnISJMiM", 2)
    content = {"train": {key: value for key, value in part.items() if kept is None or key in kept}}
    result = dialect_of(content)
    assert result is not None
    assert result.name == "MMSA"


def test_lists_of_words_are_named(tmp_path: Path) -> None:
    sample = ((["a", "word"], np.zeros((2, 47)), np.zeros((2, 74))), np.ones((1, 1)), "03bSnISJMiM[0]")
    with pytest.raises(
        UserError, match=r"has the format of MAG-BERT and MISA \(train, dev, test\).* MultiBench's pickle"
    ):
        read_multibench(stored(tmp_path, {"train": [sample], "dev": [sample], "test": [sample]}))


@pytest.mark.parametrize(
    "content", [{"train": {"text": 1, "labels": 2}}, {"annotations": 1}, [1], {"train": [], "dev": 1}]
)
def test_other_things_are_not_taken_for_one(content: object) -> None:
    assert dialect_of(content) is None


def test_a_pickle_under_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "aligned_50.pkl").touch()
    with pytest.raises(UserError, match=r"It has aligned_50\.pkl: rename the pickle to 'mosi_data\.pkl'"):
        Mosi(tmp_path / "data/mosi").prepare(Preparation(tmp_path))
