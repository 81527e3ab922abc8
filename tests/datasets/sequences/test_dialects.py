"""Pickles of other projects: MMSA's are told from MultiBench's and read as they are, lists of words are named."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.mosi import Mosi
from mcr_bench.datasets.sequences.dialects import dialect_of
from mcr_bench.datasets.sequences.mmsa import is_mmsa
from mcr_bench.datasets.sequences.pickles import read_samples
from mcr_bench.tests.support.media.mmsa_files import CHANNELS, DIALS, UNALIGNED, content, part, write_mmsa

ALL = ("text", "audio", "video")


def mosi(folder: Path, **dials: Any) -> Mosi:
    return Mosi(folder / "data/mosi", **{**DIALS, **dials})


@pytest.mark.parametrize("name", ["aligned_50.pkl", "mosi_data.pkl"])
def test_aligned_pickles_are_read_whatever_their_name(name: str, tmp_path: Path) -> None:
    data = mosi(tmp_path)
    data.prepare(Preparation(write_mmsa(tmp_path / "raw", name)))
    train = data.load("standard", 1, 0, ALL).train
    assert len(train) == 8
    assert train.lengths["audio"].tolist() == train.lengths["text"].tolist() == [2, 3, 4, 5, 2, 3, 4, 5]
    assert train.groups == ["03bSnISJMiM"] * 8
    assert train.target.tolist() == [-1, 0.5, -0.5, 1] * 2


def test_unaligned_pickles_keep_each_modality_s_own_steps(tmp_path: Path) -> None:
    source = write_mmsa(tmp_path / "raw", "unaligned_50.pkl", steps=UNALIGNED)
    with pytest.raises(UserError, match=r"--set dataset\.audio_steps=9 --set dataset\.video_steps=7"):
        mosi(tmp_path).prepare(Preparation(source))
    data = mosi(tmp_path, audio_steps=9, video_steps=6)
    data.prepare(Preparation(source))
    assert {m: shape.shape for m, shape in data.facts().modalities.items()} == {
        "text": (50, 8),
        "audio": (9, 3),
        "video": (6, 4),
    }
    train = data.load("standard", 1, 0, ALL).train
    assert train.lengths["audio"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert train.lengths["video"].tolist() == [2, 3, 4, 5, 6, 6, 2, 3]  # cut after six
    assert train.lengths["text"].tolist() == [2, 3, 4, 5, 2, 3, 4, 5]
    assert data.folder != mosi(tmp_path).folder


def test_settings_of_steps_without_effect_are_not_in_the_key_of_a_run(tmp_path: Path) -> None:
    data = mosi(tmp_path)
    data.prepare(Preparation(write_mmsa(tmp_path / "raw")))
    dials = {"steps": 50, "audio_steps": 0, "video_steps": 7}
    assert data.acting(dials) == {"steps": 50, "video_steps": 7}


def test_zeros_in_front_are_left_out_as_zeros_at_the_end_are(tmp_path: Path) -> None:
    def turn(made: dict[str, dict[str, Any]]) -> None:
        for of in made.values():
            for key in ("audio", "vision"):
                of[key] = np.ascontiguousarray(of[key][:, ::-1])

    plain = write_mmsa(tmp_path / "raw", steps=UNALIGNED) / "aligned_50.pkl"
    turned = write_mmsa(tmp_path / "turned", steps=UNALIGNED, change=turn) / "aligned_50.pkl"
    for one, other in zip(read_samples(plain), read_samples(turned), strict=True):
        assert np.array_equal(one.values["audio"], other.values["audio"][::-1])
        assert np.array_equal(one.values["text"], other.values["text"])


def test_without_lengths_and_mask_the_last_step_that_is_not_zero_ends_a_sample(tmp_path: Path) -> None:
    def remove(made: dict[str, dict[str, Any]]) -> None:
        for of in made.values():
            for key in ("text_bert", "audio_lengths", "vision_lengths"):
                del of[key]

    plain = write_mmsa(tmp_path / "raw", steps=UNALIGNED) / "aligned_50.pkl"
    bare = write_mmsa(tmp_path / "bare", steps=UNALIGNED, change=remove) / "aligned_50.pkl"
    for one, other in zip(read_samples(plain), read_samples(bare), strict=True):
        assert {m: len(x) for m, x in one.values.items()} == {m: len(x) for m, x in other.values.items()}


def empty(made: dict[str, dict[str, Any]]) -> None:
    made["train"]["audio_lengths"][0] = 0
    made["train"]["text_bert"][1, 1] = 0
    made["train"]["vision"][2, 0, 0] = np.nan
    made["train"]["audio"][3, 0, 0] = -np.inf


def test_samples_without_steps_or_with_nan_are_left_out_with_reasons(tmp_path: Path) -> None:
    data = mosi(tmp_path, audio_steps=9, video_steps=7)
    report = data.prepare(Preparation(write_mmsa(tmp_path / "raw", steps=UNALIGNED, change=empty)))
    for reason in ("no audio: it has no steps", "no text: it has no steps", "video has 1 values that are nan"):
        assert reason in report
    assert "4 in quarantine" in report
    zeroed = mosi(tmp_path, audio_steps=9, video_steps=7, silence="zero")
    assert "3 in quarantine" in zeroed.prepare(Preparation(tmp_path / "raw"))
    assert len(zeroed.load("standard", 1, 0, ALL).train) == 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("regression_labels", np.full(8, 4.0), "is 4; allowed: -3 to 3"),
        ("regression_labels", ["high"] * 8, "'regression_labels' of 'train' is not one number per sample"),
        ("regression_labels", np.zeros((8, 2)), "'regression_labels' of 'train' is not one number per sample"),
        ("audio_lengths", [-1] * 8, "'audio_lengths' of 'train' are not the numbers of steps"),
        ("audio_lengths", [float("inf")] * 8, "'audio_lengths' of 'train' are not the numbers of steps"),
        ("audio_lengths", [1] * 7, "'audio_lengths' of 'train' are not the numbers of steps"),
        ("text_bert", np.zeros((8, 3, 4)), r"'text_bert' of 'train' has shape \(8, 3, 4\)"),
        ("text_bert", np.full((8, 3, 5), 2), "the mask of 'text_bert' of 'train'"),
        ("id", ["v$_$1"] * 7, "'train' has different numbers of samples"),
        ("vision", np.zeros((8, 7)), "'vision' of 'train' is float64"),
    ],
)
def test_damaged_pickles_are_errors(key: str, value: object, message: str, tmp_path: Path) -> None:
    def change(made: dict[str, dict[str, Any]]) -> None:
        made["train"][key] = value

    source = write_mmsa(tmp_path / "raw", steps=UNALIGNED, change=change)
    with pytest.raises(UserError, match=message):
        mosi(tmp_path, audio_steps=9, video_steps=7).prepare(Preparation(source))
    assert not (tmp_path / "data").exists()


def test_two_pickles_in_one_folder_are_an_error(tmp_path: Path) -> None:
    source = write_mmsa(write_mmsa(tmp_path / "raw"), "unaligned_50.pkl")
    with pytest.raises(UserError, match=r"has 'aligned_50\.pkl' and 'unaligned_50\.pkl', which are forms of the same"):
        mosi(tmp_path).prepare(Preparation(source))


@pytest.mark.parametrize(
    "kept", [{"text", "audio", "vision", "id", "regression_labels", "classification_labels"}, None]
)
def test_some_of_the_keys_are_enough(kept: set[str] | None) -> None:
    made = part("03bSnISJMiM", 2)
    assert is_mmsa({"train": {key: value for key, value in made.items() if kept is None or key in kept}})


def test_lists_of_words_are_named(tmp_path: Path) -> None:
    sample = ((["a", "word"], np.zeros((2, 47)), np.zeros((2, 74))), np.ones((1, 1)), "03bSnISJMiM[0]")
    path = tmp_path / "mosi_data.pkl"
    path.write_bytes(pickle.dumps({"train": [sample], "dev": [sample], "test": [sample]}))
    with pytest.raises(
        UserError, match=r"has the format of MAG-BERT and MISA \(train, dev, test\).* MultiBench's pickle"
    ):
        read_samples(path)


@pytest.mark.parametrize(
    "other", [{"train": {"text": 1, "labels": 2}}, {"annotations": 1}, [1], {"train": [], "dev": 1}]
)
def test_other_things_are_not_taken_for_one(other: object) -> None:
    assert dialect_of(other) is None
    assert not isinstance(other, dict) or not is_mmsa(other)


def test_a_pickle_under_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.pkl").touch()
    with pytest.raises(UserError, match=r"It has mine\.pkl: rename the pickle to 'mosi_data\.pkl'"):
        mosi(tmp_path).prepare(Preparation(tmp_path))


def test_the_features_are_those_of_the_file(tmp_path: Path) -> None:
    data = mosi(tmp_path)
    data.prepare(Preparation(write_mmsa(tmp_path / "raw")))
    first, made = data.cache.index.ids.index("03bSnISJMiM$_$3"), content()["train"]
    stored = torch.from_numpy(data.cache.array("audio")[data.cache.rows[first]].copy())
    assert torch.equal(stored[:5], torch.from_numpy(made["audio"][3].astype(np.float32)))
    assert stored.shape == (50, CHANNELS["audio"])
