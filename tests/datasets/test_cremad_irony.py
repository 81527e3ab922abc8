"""The dial `irony` of CREMA-D: pairs of one actor and sentence, the same marginals, parts, audits, keys and results."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.problem.overlaps import audit
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.clips.pairing import pairs_of
from mcr_bench.datasets.cremad import Cremad
from mcr_bench.tests.datasets.test_paper_sets import command
from mcr_bench.tests.support.media import preparing
from mcr_bench.tests.support.media.cremad_files import IDS, tree

here = preparing.here  # a fixture: clips are decoded in this process
SMALL = {"frame_size": 16, "crop": 16, "frames": 1, "seconds": 0.5}


@pytest.fixture
def data(tmp_path: Path, here: None) -> Cremad:  # noqa: ARG001
    plain = Cremad(tmp_path / "data/cremad", **SMALL)  # type: ignore[arg-type]
    plain.prepare(Preparation(tree(tmp_path / "raw")))
    return Cremad(plain.location, irony=0.5, **SMALL)  # type: ignore[arg-type]


def test_ironic_samples_pair_clips_of_one_actor_and_part(data: Cremad) -> None:
    parts = data.parts("speaker", 1)
    genuine = {i: part for i, part in zip(parts.ids, parts.part, strict=True) if "+" not in i}
    assert (len(genuine), len(parts.ids)) == (42, 63)
    for name, part, group, label in zip(parts.ids, parts.part, parts.groups, parts.labels, strict=True):
        if "+" in name:
            voice, face = name.split("+")
            assert (voice[:8], label, group) == (face[:8], 6, voice[:4])
            assert voice[9:12] != face[9:12]
            assert genuine[voice] == genuine[face] == part
    assert audit(parts) == []
    assert data.facts().class_names[-1] == "irony"
    assert "a seventh class is ours: irony" in data.protocols()["speaker"].card


def test_voice_and_face_are_those_of_their_clips(data: Cremad) -> None:
    train = data.load("speaker", 1, 0, ("audio", "video")).train
    batch = train.batch(torch.arange(len(train))).inputs.values
    at = {name: row for row, name in enumerate(train.ids)}
    ironic = [name for name in train.ids if "+" in name]
    assert len(ironic) == round(0.5 * (len(train) - len(ironic)))
    for name in ironic:
        voice, face = name.split("+")
        assert torch.equal(batch["audio"][at[name]], batch["audio"][at[voice]])
        assert torch.equal(batch["video"][at[name]], batch["video"][at[face]])
    assert (train.target == 6).sum() == len(ironic)
    assert {part: len(y) for part, y in data.labels("speaker", 1, 0).items()} == {"train": 45, "val": 9, "test": 9}


def test_without_the_dial_nothing_changes(data: Cremad) -> None:
    plain = Cremad(data.location, **SMALL)  # type: ignore[arg-type]
    assert len(plain.parts("speaker", 1).ids) == 42
    assert plain.fingerprint() == plain.cache.fingerprint
    assert data.fingerprint() != plain.fingerprint()
    assert data.folder == plain.folder
    assert "irony" not in plain.acting({"irony": 0.0, "frames": 1})
    assert data.acting({"irony": 0.5, "frames": 1}) == {"irony": 0.5, "frames": 1}
    assert len(plain.class_names) == 6


def test_pairs_do_not_depend_on_the_order_and_use_each_clip_once() -> None:
    kin, labels = [clip[:8] for clip in IDS], np.array([hash(clip[9:12]) for clip in IDS])
    pairs = pairs_of(IDS, kin, labels, 1.0)
    assert len(pairs) == len(IDS)
    assert sorted(pairs[:, 0]) == sorted(pairs[:, 1]) == list(range(len(IDS)))
    turned = pairs_of(IDS[::-1], kin[::-1], labels[::-1], 1.0)
    named = [(IDS[a], IDS[b]) for a, b in pairs]
    assert [(IDS[::-1][a], IDS[::-1][b]) for a, b in turned] == named
    assert named[:21] == [(IDS[a], IDS[b]) for a, b in pairs_of(IDS, kin, labels, 0.5)]
    assert len({(a[9:12], b[9:12]) for a, b in named}) > 10
    assert pairs_of(IDS[:1], kin[:1], labels[:1], 1.0).shape == (0, 2)


@pytest.mark.usefixtures("data")
def test_a_run_has_seven_classes(tmp_path: Path) -> None:
    small = [text for key, value in SMALL.items() for text in ("--set", f"dataset.{key}={value}")]
    call = ["run", "--methods", "joint", "--dataset", "cremad", "--seeds", "1", "--jobs", "1", "--json", *small]
    options = ["dataset.irony=0.5", "epochs=1", "encoder.width=4", "model.width=8"]
    done = json.loads(command(tmp_path, *call, *(text for option in options for text in ("--set", option))))
    assert not done["failed"]
