"""UR-FUNNY, MUStARD and IEMOCAP: pickles of MultiBench with classes or labels, from the raw file to parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset, method
from mcr_bench.bench.catalog.resolve import resolve_dataset, resolve_run
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Dataset, Preparation
from mcr_bench.datasets.iemocap import Iemocap
from mcr_bench.datasets.mustard import Mustard
from mcr_bench.datasets.ur_funny import UrFunny
from mcr_bench.tests.support.media.multibench_files import DIALS, NAMES, STEPS, Kind, labels, write

ALL = ("text", "audio", "video")


def prepared(folder: Path, kind: Kind, change: Any = None) -> Dataset:
    data = kind(folder / "data" / kind.name, **DIALS)
    data.prepare(Preparation(write(folder / "raw", kind, change)))
    return data


@pytest.mark.parametrize("kind", [UrFunny, Mustard])
def test_two_classes(kind: Kind, tmp_path: Path) -> None:
    data = prepared(tmp_path, kind)
    splits = data.load("standard", 1, 0, ALL)
    assert splits.train.target.tolist() == [int(i.split("_")[-1]) % 2 for i in splits.train.ids]
    assert splits.train.target.dtype == torch.int64
    assert data.facts().task == Task(2)
    assert len(data.facts().class_names) == 2
    assert splits.train.groups == splits.train.ids  # no video is known
    assert set(splits.train.ids) == {str(i) if kind is UrFunny else f"2_{i}" for i in range(12)}
    assert splits.train.lengths["text"].tolist() == [STEPS - 1] * 12
    audits = verification_of(data, True).protocols[0][1]
    assert not audits[0].overlaps
    assert data.protocols()["standard"].metric == "accuracy"


def test_emotions_are_labels_of_which_a_sample_has_any_number(tmp_path: Path) -> None:
    data = prepared(tmp_path, Iemocap)
    splits = data.load("standard", 1, 0, ALL)
    rows = [int(i.split("-")[1]) for i in splits.train.ids]
    has = labels(Iemocap, 12).argmax(2)
    assert splits.train.labels.tolist() == has[rows].tolist()
    assert splits.train.target.dtype == torch.float32
    assert data.facts().task == Task(None, labels=4)
    assert data.labels("standard", 1, 0)["test"].shape == (6, 4)
    verified = verification_of(data, True)
    assert verified.class_names == ("neutral", "happy", "sad", "angry")
    assert verified.protocols[0][1][0].classes["train"] == has.sum(0).tolist()
    assert verified.damaged == []


def silent(content: dict[str, dict[str, Any]]) -> None:
    """Minus infinity in the audio of one sample, NaN in that of another, and one without text."""
    content["train"]["audio"][0, -1, 0] = -np.inf
    content["train"]["audio"][1, -1, 0] = np.nan
    content["train"]["text"][2] = 0


@pytest.mark.parametrize("kind", [UrFunny, Mustard, Iemocap])
def test_silence_is_zero_and_what_cannot_be_used_is_left_out(kind: Kind, tmp_path: Path) -> None:
    data = prepared(tmp_path, kind, silent)
    assert len(data.load("standard", 1, 0, ALL).train) == 10
    reasons = [reason for _, reason in verification_of(data, False).inventory.left_out]
    assert sorted(reasons) == ["audio has 1 values that are nan", "no text: all of its steps are zero"]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (UrFunny, np.full(12, 2.0), "the label of '0' is 2; allowed: 0 or -1, and 1"),
        (Mustard, np.full(12, np.nan), "the label of '2_0' is nan; allowed: 0 or -1, and 1"),
        (UrFunny, labels(Iemocap, 12), "the label of '0' is 0, 1, 1, 0; allowed"),
        (Iemocap, labels(Iemocap, 12)[:, :3], r"has 3 labels. Needed: \(n, 4, 2\)"),
        (Iemocap, np.zeros((12, 4, 2)), r"'labels' of 'train' are float64 \(12, 4, 2\)"),
    ],
)
def test_wrong_labels_are_errors_that_name_the_sample(kind: Kind, wrong: Array, message: str, tmp_path: Path) -> None:
    def change(content: dict[str, dict[str, Any]]) -> None:
        content["train"]["labels"] = wrong

    with pytest.raises(UserError, match=message):
        prepared(tmp_path, kind, change)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", [UrFunny, Mustard, Iemocap])
def test_a_folder_without_the_pickle_is_an_error_with_the_layout(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"has no '{NAMES[kind]}'(?s:.*)SOURCE/"):
        kind(tmp_path / "data").prepare(Preparation(tmp_path))
    source = write(tmp_path / "raw", kind)
    with pytest.raises(UserError, match="Leave out --splits"):
        kind(tmp_path / "data", **DIALS).prepare(Preparation(source, (source,)))


@pytest.mark.parametrize("kind", [UrFunny, Mustard, Iemocap])
def test_the_preset_s_encoders_learn_at_the_set_s_own_sizes(kind: Kind, tmp_path: Path) -> None:
    cls = dataset(kind.name)
    preset = presets_of(cls)["default"]
    data = cls(tmp_path, **resolve_dataset(preset.values, cls))
    assert isinstance(data, kind)
    settings = resolve_run(preset.values, method("joint"), cls, ALL)
    encoders = {m: build(EncoderSettings, settings.encoders[m]) for m in ALL}
    task = Task(None, labels=4) if kind is Iemocap else Task(2)
    shapes = data.modalities()
    model = build_model(shapes, task, build(ModelSettings, settings.model), encoders)
    for m, shape in shapes.items():
        features = model.encode_one(m, torch.randn(2, *shape.shape), torch.tensor([shape.shape[0], 3]))
        features.sum().backward()
        assert features.shape == (2, 40)
