"""AVE: from videos in the official layout to prepared rows and parts; unusable videos; presets."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.planning.plan import make_plan_of
from mcr_bench.bench.planning.request import Request
from mcr_bench.datasets.ave import Ave
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.media.decode import Unusable, read_frames
from mcr_bench.datasets.raw.ave_raw import CLASSES, decode
from mcr_bench.tests.support.media.ave_files import SMALL, lists, write_lists
from mcr_bench.tests.support.media.media_files import frequency, lfs_pointer, truncate, write_clip
from mcr_bench.tests.support.runs.planned import planned

SETTINGS = {"version": 1, "backbone": "resnet", "frames": 4, "frame_size": 16}


def raw(folder: Path) -> Path:
    write_lists(folder, lists())
    for n in range(22):
        write_clip(folder / f"AVE/video_-{n:04}.mp4", 2, fps=5, seed=n)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw(tmp_path_factory.mktemp("raw") / "AVE_Dataset")


@pytest.fixture(scope="module")
def data(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Ave:
    result = Ave(tmp_path_factory.mktemp("data") / "ave", **SMALL)
    result.prepare(Preparation(source))
    return result


def test_is_registered_and_its_classes_are_alphabetical() -> None:
    assert dataset("ave") is Ave
    assert list(CLASSES) == sorted(set(CLASSES))
    assert len(CLASSES) == 28


def test_prepared_events_have_the_shapes_of_the_paper(data: Ave) -> None:
    facts = data.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"audio": (1, 257, 1004), "video": (4, 3, 24, 24)}
    assert facts.task.classes == 28
    parts = data.load("official", 1, 0, ("audio", "video"))
    assert (len(parts.train), len(parts.val), len(parts.test)) == (14, 5, 5)
    batch = parts.train.training_batch(torch.tensor([0, 3, 5])).inputs.values
    assert {m: tuple(x.shape) for m, x in batch.items()} == {"audio": (3, 1, 257, 1004), "video": (3, 4, 3, 24, 24)}
    assert all(x.dtype == torch.float32 and bool(torch.isfinite(x).all()) for x in batch.values())


def test_sound_label_and_group_belong_to_the_same_event(data: Ave) -> None:
    parts = data.load("official", 1, 0, ("audio",))
    for split in (parts.train, parts.val, parts.test):
        assert split.groups is not None
        loudest = split.batch(torch.arange(len(split))).inputs.values["audio"][:, 0].mean(2).argmax(1)
        for row, (name, group) in enumerate(zip(split.ids, split.groups, strict=True)):
            seed = int(group[-4:])
            assert abs(int(loudest[row]) - frequency(seed) * 512 / 16000) <= 1
            label = ("Church bell", "Bark", "Frying (food)", "Violin, fiddle")[seed % 4]
            assert CLASSES[int(split.target[row])] == ("Mandolin" if name.endswith("mandolin") else label)


def test_only_the_annotated_segment_is_heard_and_it_is_repeated(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    asked = []
    ramp = np.linspace(-1, 1, 16000, dtype=np.float32)

    def read(path: Path, *of: float) -> np.ndarray:
        asked.append((path.name, *of))
        return ramp

    monkeypatch.setattr("mcr_bench.datasets.media.decode.read_audio", read)
    clip = Clip("x", 0, "x", {"video": source / "AVE/video_-0003.mp4"}, (1.0, 2.0))
    rows = decode(clip, SETTINGS | {"backbone": "transformers"})
    assert asked == [("video_-0003.mp4", 16000, 1.0, 1.0)]
    assert rows["audio"].shape == (160_000,)
    assert rows["audio"] == pytest.approx(np.tile(ramp, 10).astype(np.float16))


def test_frames_are_the_first_of_ten_spread_over_the_event(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    asked: list[list[float]] = []

    def read(path: Path, times: list[float], pad: bool) -> np.ndarray:
        asked.append(times)
        return read_frames(path, times, pad)

    monkeypatch.setattr("mcr_bench.datasets.media.decode.read_frames", read)
    clip = Clip("x", 0, "x", {"video": source / "AVE/video_-0003.mp4"}, (1.0, 2.0))
    rows = decode(clip, SETTINGS)
    assert rows["video"].shape == (4, 3, 16, 16)
    assert float(rows["aspect"]) == pytest.approx(64 / 48)
    whole = decode(dataclasses.replace(clip, span=(0.0, 10.0)), SETTINGS | {"frames": 10})["video"]
    assert asked == [pytest.approx([1.0, 1.1, 1.2, 1.3]), list(range(10))]
    assert (whole[2:] == whole[2]).all()  # the video ends after 2 s: its last frame stands still
    assert (whole[1] != whole[0]).any()


def test_an_event_after_the_end_of_the_sound_is_unusable(source: Path) -> None:
    with pytest.raises(Unusable, match=r"video_-0003\.mp4"):
        decode(Clip("x", 0, "x", {"video": source / "AVE/video_-0003.mp4"}, (5.0, 9.0)), SETTINGS)


def test_the_transformers_recipe_lies_beside_the_other(data: Ave, source: Path) -> None:
    waves = Ave(data.location, backbone="transformers", frames=10, **SMALL)
    with pytest.raises(UserError, match="data prepare ave") as caught:
        waves.facts()
    assert data.folder.name in str(caught.value)
    waves.prepare(Preparation(source))
    assert {m: f.shape for m, f in waves.facts().modalities.items()} == {"audio": (160_000,), "video": (10, 3, 24, 24)}
    train = waves.load("official", 1, 0, ("audio",)).train
    x = train.batch(torch.arange(len(train))).inputs.values["audio"]
    assert float(x.std(correction=0)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)  # of a sine of amplitude 0.5
    assert data.facts().modalities["audio"].shape == (1, 257, 1004)


def test_unusable_videos_are_quarantined_with_reasons(source: Path, tmp_path: Path) -> None:
    copy = write_lists(tmp_path / "raw", lists())
    (copy / "AVE").mkdir()
    for n in (2, 3, 5, 6, 7):
        shutil.copy(source / f"AVE/video_-{n:04}.mp4", copy / "AVE")
    lfs_pointer(copy / "AVE/video_-0002.mp4")
    truncate(copy / "AVE/video_-0003.mp4")
    write_clip(copy / "AVE/video_-0004.mp4", 2, fps=5, audio=False)
    (copy / "AVE/video_-0005.mp4").unlink()
    result = Ave(tmp_path / "data/ave", **SMALL)
    report = result.prepare(Preparation(copy))
    for text in (
        "video_-0002.mp4: a git-LFS pointer",
        "video_-0003.mp4: ",
        "no audio stream",
        "no AVE/video_-0005.mp4",
    ):
        assert text in report
    assert result.cache.index.groups == ["video_-0006", "video_-0007"]
    absent = result.missing_clips(result.cache)
    assert {name: len(ids) for name, ids in absent.items()} == {"trainSet.txt": 12, "valSet.txt": 5, "testSet.txt": 5}
    assert "video_-0002_0-2_frying-food" in absent["trainSet.txt"]


def test_a_part_without_a_clip_is_told_before_anything_is_trained(tmp_path: Path, source: Path) -> None:
    raw_folder = tmp_path / "raw"
    shutil.copytree(source, raw_folder)
    (raw_folder / "valSet.txt").write_text("")
    Ave(tmp_path / "ave", **SMALL).prepare(Preparation(raw_folder, jobs=1))
    dials = {f"dataset.{key}": [str(value)] for key, value in SMALL.items()}
    with pytest.raises(UserError, match=r"official, fold 1: the val split is empty\. .*`mcr-bench data verify ave`"):
        planned("ave", "joint", data_root=tmp_path, set=dials)
    (absent,) = make_plan_of([Request(["joint"], ["ave"], data_root=tmp_path, overrides=dials, optional=True)]).absent
    assert "data missing: ave, protocol official, fold 1: the val split is empty" in absent.text


def test_presets_of_the_paper() -> None:
    presets = presets_of(Ave)
    assert list(presets) == ["paper", "paper-transformers"]
    assert {p.origin for p in presets.values()} == {"official-code"}
    made = {name: Ave(Path(), **resolve_dataset(p.values, Ave)) for name, p in presets.items()}
    shapes = {name: [m.shape for m in ave.modalities().values()] for name, ave in made.items()}
    assert shapes["paper"] == [(1, 257, 1004), (4, 3, 224, 224)]
    assert shapes["paper-transformers"] == [(160_000,), (10, 3, 224, 224)]
    assert presets["paper"].pairs == ((109, 1), (19, 1), (337, 1))
