"""NVGesture: lists, spans, parts by subject, three streams cropped alike, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.overlaps import audit
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.media.decode import read_every
from mcr_bench.datasets.nvgesture import NvGesture
from mcr_bench.datasets.raw.motion import nvgesture_raw as raw
from mcr_bench.tests.support.media import nv_files, preparing

here = preparing.here  # a fixture: clips are decoded in this process
SMALL = {"frame_size": 48, "crop": 16, "frames": 2}


@pytest.mark.usefixtures("here")
def test_three_streams_of_the_span_of_each_gesture(tmp_path: Path) -> None:
    source = nv_files.nvgesture(tmp_path / "raw")
    data = NvGesture(tmp_path / "data", **SMALL)
    data.prepare(Preparation(source))
    assert dataset("nvgesture") is NvGesture
    assert {m: f.shape for m, f in data.facts().modalities.items()} == dict.fromkeys(raw.STREAMS, (2, 3, 16, 16))
    parts = data.parts("official", 1)
    assert parts.sizes() == {"train": 6, "val": 6, "test": 6, "": 0}
    assert audit(parts) == []
    assert sorted(set(parts.labels.tolist())) == [0, 1, 24]
    slot = data.cache.rows[data.cache.index.ids.index("class_02_subject13_r0")]
    for stream, numbers in (("color", [4, 8]), ("infrared", [6, 10])):
        path = source / f"Video_data/class_02/subject13_r0/{raw.STREAMS[stream]}.avi"
        every = read_every(path, 1, 14)
        stored = data.cache.array(stream)[slot].transpose(0, 2, 3, 1).astype(float)
        assert np.abs(stored[:, :, 24] - every[numbers][:, :, 32].astype(float)).mean() < 25
    batch = data.load("official", 1, 0, tuple(raw.STREAMS)).train.training_batch(torch.tensor([0, 1])).inputs.values
    assert torch.equal(batch["color"], batch["depth"])  # the videos are equal, and so are the crops
    assert data.missing_clips(data.cache) == {}


def test_lists_may_be_given_and_carry_a_version(tmp_path: Path) -> None:
    source = nv_files.write_lists(tmp_path)
    assert sorted(raw.read(source, [])) == ["test", "train"]
    scan = raw.listed_clips(source, [])
    assert (len(scan.clips), scan.clips[0].group) == (18, "subject13")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "nvgesture_test_correct.lst").write_text(nv_files.lines("test")[0])
    assert len(raw.listed_clips(source, [mine / "nvgesture_test_correct.lst"]).clips) == 13
    (source / "nvgesture_train_correct.lst").write_text("")
    with pytest.raises(UserError, match="are both lists of train"):
        raw.read(source, [])
    with pytest.raises(UserError, match="is not a list of NVGesture"):
        raw.read(mine, [mine / "other.lst"])


@pytest.mark.parametrize(
    "line",
    [
        "path:./Video_data/class_01/subject1_r0 label:1",
        nv_files.lines("train")[0].replace("label:1", "label:26"),
        nv_files.lines("train")[0].replace("sk_depth:2:10", "sk_depth:2"),
        nv_files.lines("train")[0].replace("class_01", "gesture"),
    ],
)
def test_wrong_lines_are_refused(line: str) -> None:
    with pytest.raises(UserError, match=r"x, line 1: .* label of 1 to 25\. Use the list"):
        list(raw.gestures("x", line.encode()))


def test_spans_and_repeated_gestures_are_checked() -> None:
    line = nv_files.lines("train")[0]
    with pytest.raises(UserError, match="ends before it starts"):
        list(raw.gestures("x", line.replace("4:12", "12:4").encode()))
    with pytest.raises(UserError, match="the list of test has class_01_subject1_r0, which is listed before"):
        raw.listed({"train": line.encode(), "test": line.encode()})


def test_gestures_without_a_stream_are_left_out(tmp_path: Path) -> None:
    source = nv_files.write_lists(tmp_path)
    with pytest.raises(UserError, match=r"has no gesture of its lists\.[\s\S]*Expected:\nSOURCE/"):
        raw.scan(source, [])
    for name in ("sk_color.avi", "sk_depth.AVI", "duo_left.mkv"):
        path = source / "video_data/class_01/subject1_r0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    scan = raw.scan(source, [])
    assert [clip.id for clip in scan.clips] == ["class_01_subject1_r0"]
    assert ("Video_data", "17 listed gestures without all three videos") in scan.notes
    with pytest.raises(UserError, match=r"has no nvgesture_train_correct\*\.lst and no nvgesture_test_correct\*\.lst"):
        raw.scan(source / "video_data", [])


@pytest.mark.usefixtures("here")
def test_a_span_beyond_the_end_of_the_video_is_told(tmp_path: Path) -> None:
    source = nv_files.nvgesture(tmp_path / "raw")
    for path in source.glob("*train*.lst"):
        path.write_text(path.read_text().replace("sk_color:2:10", "sk_color:2:40"))
    data = NvGesture(tmp_path / "data", **SMALL)
    data.prepare(Preparation(source))
    told = [text for _, text in data.inventory().findings]
    assert any(text.startswith("sk_color.avi ends before frame 40, where its span ends") for text in told)


def test_two_videos_of_one_stream_are_named(tmp_path: Path) -> None:
    source = nv_files.write_lists(tmp_path)
    for name in ("sk_color.avi", "sk_color.mp4", "sk_depth.avi", "duo_left.avi"):
        path = source / "video_data/class_01/subject1_r0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(UserError, match=r"sk_color\.avi' and .*sk_color\.mp4' are the same video"):
        raw.scan(source, [])
