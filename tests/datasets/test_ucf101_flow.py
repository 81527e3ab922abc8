"""UCF101 with optical flow: 101 classes, computed flow and the two-stream release's; crops, flips, bad folders."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.media.flow import decode as in_pixels
from mcr_bench.datasets.raw import ucf_raw
from mcr_bench.datasets.raw.motion import ucf_flow
from mcr_bench.datasets.ucf101 import Ucf101
from mcr_bench.tests.support.media import preparing, ucf_files
from mcr_bench.tests.support.media.media_files import write_clip
from mcr_bench.tests.support.runs.pretended import pretend

here = preparing.here  # a fixture: clips are decoded in this process
SMALL = {"frame_size": 48, "crop": 16, "frames": 3}
REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "ucf101"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no ucf101 folder")


def made(folder: Path, flow: str) -> Ucf101:
    source = ucf_files.videos(folder / "raw") if flow == "dis" else ucf_files.release(folder / "raw")
    data = Ucf101(folder / "data", flow=flow, **SMALL)  # type: ignore[arg-type]
    data.prepare(Preparation(source))
    return data


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("flow", ["dis", "tvl1"])
def test_frames_and_flow_of_the_101_classes(flow: str, tmp_path: Path) -> None:
    data = made(tmp_path, flow)
    facts = data.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"video": (3, 3, 16, 16), "flow": (3, 3, 16, 16)}
    assert facts.task.classes == 101
    assert "all 101 classes" in data.protocols()["official"].card
    parts = data.load("official", 1, 0, ("video", "flow"))
    assert (len(parts.train) + len(parts.val), len(parts.test)) == (18, 6)
    labels = {facts.class_names[int(label)] for label in parts.train.target}
    assert labels == {*ucf_files.SPORTS}
    assert data.missing_clips(data.cache) == {}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("flow", ["dis", "tvl1"])
def test_flow_is_in_pixels_and_a_flip_negates_it(flow: str, tmp_path: Path) -> None:
    data = made(tmp_path, flow)
    train = data.load("official", 1, 0, ("flow",)).train
    x = train.batch(torch.arange(len(train))).inputs.values["flow"]
    middle = x[:, :, :, 4:12, 4:12]
    right = -ucf_files.SHIFT if flow == "dis" else ucf_files.SHIFT  # the pattern of `picture` moves to the left
    assert middle[:, :, 0].median().item() == pytest.approx(right, abs=1.0)
    assert middle[:, :, 1].median().item() == pytest.approx(0, abs=0.5)
    assert (x[:, :, 2] == 0).all()
    rows = train.values["flow"]
    drawn = torch.cat([rows.made(_raw(rows, 0), torch.tensor([0]), seed)[:, :, 0].flatten() for seed in range(12)])
    assert (drawn > 1).any()
    assert (drawn < -1).any()


def _raw(rows: object, at: int) -> torch.Tensor:
    into = torch.empty((1, *rows.row), dtype=torch.uint8)  # type: ignore[attr-defined]
    rows.read(torch.tensor([at]), into)  # type: ignore[attr-defined]
    return into


def test_frames_are_spread_evenly() -> None:
    assert ucf_flow.spread(101, 4) == [12, 37, 62, 87]
    assert max(ucf_flow.spread(7, 20)) == 5


def test_codes_of_the_release_are_those_of_its_program() -> None:
    zero, unit = ucf_flow.CODES["tvl1"]
    codes = np.array([0, 255])
    assert ((codes - zero) * unit).tolist() == pytest.approx([-20, 20])
    zero, unit = ucf_flow.CODES["dis"]
    assert ((np.array([128, 255]) - zero) * unit).tolist() == pytest.approx(
        in_pixels(np.array([128, 255]), 20.0).tolist()
    )


def test_a_run_with_sound_keeps_its_key_and_its_classes(tmp_path: Path) -> None:
    plain = Ucf101(tmp_path)
    assert "flow" not in plain.acting({"flow": "none", "frames": 4})
    assert plain.acting({"flow": "dis", "frames": 4}) == {"flow": "dis", "frames": 4}
    assert len(plain.class_names) == 51
    assert plain.prepared_size[0] == 6845
    assert Ucf101(tmp_path, flow="dis").prepared_size[0] == 13_320
    assert list(ucf_raw.ALL) == sorted(ucf_raw.ALL, key=str.lower)
    assert len(set(ucf_raw.ALL)) == 101


def test_what_the_release_lacks_is_reported(tmp_path: Path) -> None:
    source = ucf_files.release(tmp_path)
    shutil.rmtree(source / "tvl1_flow/v/v_Diving_g01_c01")
    (source / "jpegs_256/TSP_flows").mkdir()
    scan = ucf_flow.scan(source, [], "tvl1")
    assert len(scan.clips) == 23
    assert scan.problems == [
        ("jpegs_256/TSP_flows", "is not named v_CLASS_gNN_cNN; left out"),
        ("v_Diving_g01_c01", "missing from tvl1_flow/v"),
        ("v_Diving_g01_c01", "listed, but missing from jpegs_256"),
    ]
    shutil.rmtree(source / "tvl1_flow/v")
    with pytest.raises(UserError, match=r"has no tvl1_flow/v\. Expected:\nSOURCE/"):
        ucf_flow.scan(source, [], "tvl1")


def test_unusable_clips_say_why(tmp_path: Path) -> None:
    source = ucf_files.release(tmp_path / "release")
    settings = {"frames": 3, "frame_size": 16}
    (clip, *_) = ucf_flow.scan(source, [], "tvl1").clips
    for n in (5, 6):
        (clip.files["u"] / f"frame{n:06}.jpg").unlink()
    (other, *_) = [one for one in ucf_flow.scan(source, [], "tvl1").clips if one.id != clip.id]
    for role, lost in (("u", 3), ("v", 5)):  # as many as without the last one, but of other moments
        shutil.copy(other.files[role] / "frame000006.jpg", other.files[role] / "frame000007.jpg")
        (other.files[role] / f"frame{lost:06}.jpg").unlink()
    with pytest.raises(Unusable, match=f"{other.files['u'].name}: a picture is missing after 'frame000002.jpg'"):
        ucf_flow.decode(other, settings)
    with pytest.raises(Unusable, match="7 in jpegs_256, 4 in tvl1_flow/u, 6 in tvl1_flow/v; one flow image per frame"):
        ucf_flow.decode(clip, settings)
    path = write_clip(tmp_path / "v_Diving_g01_c01.avi", seconds=0.1, fps=10, audio=False)
    with pytest.raises(Unusable, match="has one frame; optical flow needs two"):
        ucf_flow.decode(type(clip)("x", 0, "g", {"video": path}), settings)
    small = write_clip(tmp_path / "small.avi", seconds=0.5, width=32, height=8, fps=10, audio=False)
    with pytest.raises(Unusable, match="too small for optical flow"):
        ucf_flow.decode(type(clip)("x", 0, "g", {"video": small}), settings)


@real
def test_the_genuine_lists_have_all_101_classes() -> None:
    data = Ucf101(Path("nowhere"), flow="dis")
    pretend(data, data.listed(REAL, []))
    sizes = [data.parts("official", fold).sizes() for fold in (1, 2, 3)]
    assert [(s["train"] + s["val"], s["test"]) for s in sizes] == [(9537, 3783), (9586, 3734), (9624, 3696)]


@real
@pytest.mark.usefixtures("here")
def test_genuine_clips_become_frames_and_flow(tmp_path: Path) -> None:
    data = Ucf101(tmp_path / "data", flow="dis", **SMALL)
    data.prepare(Preparation(REAL))
    assert sorted(data.cache.index.ids) == ["v_ApplyEyeMakeup_g01_c01", "v_SoccerJuggling_g23_c01"]
    assert (data.cache.array("flow") != 128).any()


def test_the_preset_has_frames_and_flow() -> None:
    made_by = Ucf101(Path(), **resolve_dataset(presets_of(Ucf101)["flow"].values, Ucf101))
    assert [m.shape for m in made_by.modalities().values()] == [(3, 3, 224, 224)] * 2
