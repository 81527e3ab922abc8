"""Data on this machine whose samples may lack a modality, beside runs that are trained on those that they can see."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mcr_bench.bench.problem.overlaps import Parts
from mcr_bench.bench.problem.samples import Split, Splits
from mcr_bench.bench.publish import here
from mcr_bench.bench.publish.predicted import Predicted
from mcr_bench.bench.publish.said import Said
from mcr_bench.bench.publish.samples import beside
from mcr_bench.tests.support.records.run_rows import run_row

PART = {"train": ["t0", "t1", "t2", "t3", "t4"], "val": ["s0", "s1", "s2", "s3"], "test": ["e0", "e1", "e2"]}
LABELS = {"train": [0, 0, 0, 1, 1], "val": [0, 1, 0, 1], "test": [0, 0, 1]}
AUDIO = {"train": [False, False, False, True, True], "val": [True, False, True, False], "test": [True, False, False]}
Has = dict[str, list[bool]]
FLOOR = {"floor/accuracy": 2 / 3}  # class 0 has three of all five training samples, and two of three test samples
AUDIO_ALONE = FLOOR | {"data/train_samples": 2.0}  # t3 and t4, both of class 1


def split(name: str, modalities: tuple[str, ...]) -> Split:
    values = {m: torch.zeros(len(PART[name]), 1) for m in modalities}
    has = {"audio": torch.tensor(AUDIO[name])} if "audio" in modalities else {}
    return Split(values, torch.tensor(LABELS[name]), PART[name], PART[name], present=has)


def indexed(*_: object) -> Parts:
    ids = [one for part in PART.values() for one in part]
    part = np.array([name for name, of in PART.items() for _ in of])
    labels, has = (np.array([one for name in PART for one in of[name]]) for of in (LABELS, AUDIO))
    return Parts(part, ids, ids, ids, labels, present={"audio": has})


@pytest.fixture(params=[False, True], ids=["loaded", "prepared"])
def data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> here.Data:
    def load(_: str, __: int, ___: int, modalities: tuple[str, ...]) -> Splits:
        return Splits(*(split(name, modalities) for name in ("train", "val", "test")))

    fake = SimpleNamespace(needs_preparation=request.param, load=load, parts=indexed, protocols=dict)
    monkeypatch.setattr(here.Data, "_make", lambda *_: fake)
    monkeypatch.setattr(here, "fingerprint_of", lambda _: "")
    return here.Data(Path())


def predicted(ids: list[str], name: str, has: Has) -> Predicted:
    at = [PART[name].index(one) for one in ids]
    labels, audio = (torch.tensor([of[name][i] for i in at]) for of in (LABELS, has))
    return Predicted(ids, ids, labels, torch.zeros(len(ids), 2), present={"audio": audio})


def wrong(data: here.Data, modalities: str, val: list[str], metrics: dict[str, float], has: Has = AUDIO) -> list[Said]:
    row = run_row(modalities=modalities, metrics=metrics)
    parts = {"val": predicted(val, "val", has), "test": predicted(PART["test"], "test", has)}
    return [one for one in beside(row, parts, data.here(row)) if one.state != "holds"]


def test_a_run_has_the_samples_that_it_can_see_and_the_floors_all_training_labels(data: here.Data) -> None:
    assert not wrong(data, "audio,video", PART["val"], FLOOR | {"data/train_samples": 5.0})
    assert not wrong(data, "audio", ["s0", "s2"], AUDIO_ALONE)
    (one,) = wrong(data, "audio", ["s0"], AUDIO_ALONE)
    assert "1 of the validation part, such as 's2', are missing" in one.text
    (one,) = wrong(data, "audio", PART["val"], AUDIO_ALONE)
    assert "2 of the validation part, such as 's1', are not in it" in one.text
    (one,) = wrong(data, "audio", ["s0", "s2"], AUDIO_ALONE | {"data/train_samples": 5.0})
    assert "data/train_samples is 5 on record, and the training part here has 2" in one.text
    (one,) = wrong(data, "audio", ["s0", "s2"], AUDIO_ALONE | {"floor/accuracy": 1 / 3})
    assert "floor/accuracy is 0.333333 on record and 0.666667 by the training labels here" in one.text


def test_a_run_has_a_modality_in_the_samples_that_have_it_here(data: here.Data) -> None:
    (one,) = wrong(data, "audio,video", PART["val"], FLOOR, AUDIO | {"test": [True, True, False]})
    assert (
        one.text
        == "the samples that have 'audio' are not those of the data here: 1 of the test part, such as 'e1', differ"
    )
    (one,) = wrong(data, "audio", ["s0", "s2"], AUDIO_ALONE, AUDIO | {"test": [True] * 3})
    assert "2 of the test part, such as 'e1', differ" in one.text
    assert not wrong(data, "video", PART["val"], FLOOR, AUDIO | {"test": [True] * 3})


def test_data_without_a_sample_that_a_run_can_see_is_compared_all_the_same(
    data: here.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AUDIO, "val", [False] * 4)
    (one,) = wrong(data, "audio", ["s0"], AUDIO_ALONE)
    assert "1 of the validation part, such as 's0', are not in it" in one.text
