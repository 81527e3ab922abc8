"""VGGSound: its list, files by video and start, parts, the size that is told first, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from mcr_bench.bench.audit.info import info_of
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.overlaps import audit
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.clips import dataset as clips
from mcr_bench.datasets.raw.web import vgg_raw
from mcr_bench.datasets.vggsound import VggSound
from mcr_bench.tests.support.media import preparing
from mcr_bench.tests.support.media import web_files as web
from mcr_bench.tests.support.runs.pretended import pretend

here = preparing.here  # a fixture: clips are decoded in this process
SMALL = {"frame_size": 16, "crop": 16, "seconds": 0.5}


def named(folder: Path, rows: list[str] | None = None) -> Path:
    """A list and empty files of its clips: what `scan` sees."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    for row in web.vgg_rows():
        video, start = row.split(",")[:2]
        (folder / "clips" / f"{video}_{start}.mp4").touch()
    (folder / vgg_raw.LIST).write_text("\r\n".join(web.vgg_rows() if rows is None else rows))
    return folder


def test_clips_labels_and_parts_follow_the_list(tmp_path: Path) -> None:
    assert dataset("vggsound") is VggSound
    scan = vgg_raw.scan(named(tmp_path), [])
    data = pretend(VggSound(tmp_path / "data", **SMALL), scan)
    assert (len(scan.clips), scan.problems) == (26, [])
    assert data.class_names == ("people coughing", "pigeon, dove cooing")
    assert data.facts().task.classes == 2
    parts = data.parts("official", 1)
    assert parts.sizes() == {"train": 18, "val": 2, "test": 6, "": 0}
    shared = [overlap for overlap in audit(parts) if overlap.kind == "group"]
    assert [(overlap.parts, overlap.shared) for overlap in shared] == [(("train", "test"), 1)]
    assert Counter(vgg_raw.parts(scan.lists[vgg_raw.LIST]).values()) == {"train": 18, "val": 2, "test": 6}


def test_files_belong_to_a_clip_by_video_and_start(tmp_path: Path) -> None:
    scan = vgg_raw.scan(named(tmp_path), [])
    files = {clip.id: clip.files["video"].name for clip in scan.clips}
    assert files[f"{web.ks_video(1)}_10"] == f"{web.ks_video(1)}_10.mp4"
    assert files[f"{web.ks_video(1)}_30"] == f"{web.ks_video(1)}_30.mp4"
    (tmp_path / "clips" / f"{web.ks_video(1)}_30.mp4").unlink()
    scan = vgg_raw.scan(tmp_path, [])
    assert scan.problems == [("vggsound.csv", "1 of its 26 clips are missing on disk")]


@pytest.mark.usefixtures("here")
def test_frames_in_folders_named_like_videos_are_a_source(tmp_path: Path) -> None:
    data = VggSound(tmp_path / "data", **SMALL)
    data.prepare(Preparation(web.vgg_frames(tmp_path / "raw")))
    assert len(data.cache.index.ids) == 26
    assert "1 per second, 64 x 48 pixels" in data.protocols()["official"].card
    assert {m: f.shape for m, f in data.facts().modalities.items()} == {"audio": (1, 257, 32), "video": (4, 3, 16, 16)}


@pytest.mark.usefixtures("here")
def test_the_size_of_a_large_cache_is_told_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    data = VggSound(tmp_path / "data", **SMALL)
    request = Preparation(web.vgg_frames(tmp_path / "raw"), progress=lambda *at: told.append(f"{at}"), tell=told.append)
    monkeypatch.setattr(clips, "LARGE", 1)
    data.prepare(request)
    assert told[0].startswith("vggsound: 26 clips need 508 kB in '")
    assert "are free. Stop at any time: the same command continues." in told[0]
    assert told[1] == "(0, 26)"
    told.clear()
    data.prepare(request)
    assert told[0] == "(0, 26)"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("x,1,people coughing,train", "line 27: 'x,1,people coughing,train' is not VIDEO,START,CLASS,train or test"),
        (f"{web.ks_video(3)},1.5,people coughing,train", "line 27"),
        (f"{web.ks_video(3)},1,people coughing,val", "line 27"),
        (f"{web.ks_video(3)},1,pigeon, dove cooing,train", "line 27"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, row: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        vgg_raw.scan(named(tmp_path, [*web.vgg_rows(), row]), [])


def test_clips_that_are_listed_twice_are_used_once(tmp_path: Path) -> None:
    rows = web.vgg_rows()
    scan = vgg_raw.scan(named(tmp_path, [*rows, rows[0], rows[2].replace("train", "test")]), [])
    assert len(scan.clips) == 26
    assert scan.problems == [
        (f"{web.ks_video(0)}_0", "in vggsound.csv more than once; its first line is used"),
        (f"{web.ks_video(2)}_20", "in train and in test of vggsound.csv; used in test alone"),
    ]
    assert vgg_raw.parts(scan.lists[vgg_raw.LIST])[f"{web.ks_video(2)}_20"] == "test"


def test_missing_lists_and_clips_name_the_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no vggsound\.csv\. Expected:\nSOURCE/"):
        vgg_raw.scan(tmp_path, [])
    (tmp_path / vgg_raw.LIST).write_text("\n".join(web.vgg_rows()))
    with pytest.raises(UserError, match=r"has no clip of the videos in vggsound\.csv\.\nExpected:"):
        vgg_raw.scan(tmp_path, [])
    (tmp_path / vgg_raw.LIST).write_text("\n")
    with pytest.raises(UserError, match="lists no clip"):
        vgg_raw.scan(tmp_path, [])


def test_the_preset_has_the_shapes_of_the_code_and_the_card_the_size(tmp_path: Path) -> None:
    preset = presets_of(VggSound)["paper"]
    made = VggSound(Path(), **resolve_dataset(preset.values, VggSound))
    assert [m.shape for m in made.modalities().values()] == [(1, 257, 188), (4, 3, 224, 224)]
    assert "177 GB with these settings: 200,000 clips of 883 kB" in info_of(VggSound(tmp_path))


def test_links_to_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    """A part may lie on another disk; told to be missing, users would have asked for clips that they have."""
    source = named(tmp_path / "raw")
    (source / "clips").rename(tmp_path / "elsewhere")
    (source / "clips").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(source)
    scan = vgg_raw.scan(source, [])
    assert (len(scan.clips), scan.problems) == (26, [])
