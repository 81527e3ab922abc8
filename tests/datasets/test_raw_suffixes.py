"""Clips under another suffix than the download's, files of other kinds, folders of frames, clips of other classes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.audit.verify_text import text_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.recipe import Scan
from mcr_bench.datasets.cremad import Cremad
from mcr_bench.datasets.raw import utd_raw as _utd_raw
from mcr_bench.datasets.raw.raw_files import MediaFiles
from mcr_bench.tests.support.media import cremad_files, official_trees
from mcr_bench.tests.support.media.media_files import write_audio, write_clip

PLACES = {  # dataset -> folder of its videos, their suffix
    "cremad": ("VideoFlash", ".flv"),
    "ave": ("AVE", ".mp4"),
    "ucf101": ("UCF-101", ".avi"),
    "something-something": ("20bn-something-something-v2", ".webm"),
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Official trees whose media files are empty: scanning decodes nothing."""

    def touch(path: Path, *_: object, **__: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(official_trees, "write_clip", touch)
    monkeypatch.setattr(official_trees, "write_audio", touch)


def scanned(name: str, source: Path, splits: Sequence[Path] = ()) -> Scan:
    return dataset(name)(source.parent / "data").scan(source, splits)  # type: ignore[attr-defined, no-any-return]


def videos(source: Path, name: str) -> list[Path]:
    place, suffix = PLACES[name]
    return sorted((source / place).rglob(f"*{suffix}"))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".MP4", ".mkv", ".webm", ".flv"])
@pytest.mark.parametrize("name", PLACES)
def test_a_converted_clip_is_taken_and_told_once(tmp_path: Path, name: str, suffix: str) -> None:
    source = official_trees.TREES[name](tmp_path / "raw")
    plain = scanned(name, source)
    place, official = PLACES[name]
    used = {path for clip in plain.clips for path in clip.files.values()}
    for path in [path for path in videos(source, name) if path in used][:7]:
        path.rename(path.with_suffix(suffix))
    result = scanned(name, source)
    assert [(c.id, c.label, c.group) for c in result.clips] == [(c.id, c.label, c.group) for c in plain.clips]
    assert result.problems == plain.problems
    same = suffix.lower() == official
    assert result.notes == ([] if same else [(place, f"7 clips as {suffix.lower()} instead of {official}")])


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", PLACES)
def test_files_of_other_kinds_are_counted(tmp_path: Path, name: str) -> None:
    source = official_trees.TREES[name](tmp_path / "raw")
    folder = videos(source, name)[0].parent
    for other in ("a.txt", "b.txt", "c.MOV", "d", ".DS_Store", "e.part"):
        (folder / other).touch()
    read = ".avi, .flv, .mkv, .mp4 or .webm"
    told = f"5 files ignored, not ending in {read}: .mov 1, .part 1, .txt 2, none 1"
    assert scanned(name, source).notes == [(PLACES[name][0], told)]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("kind", [".jpg", ".PNG"])
@pytest.mark.parametrize("name", PLACES)
def test_frames_in_folders_are_named_with_the_remedy(tmp_path: Path, name: str, kind: str, every: bool) -> None:
    source = official_trees.TREES[name](tmp_path / "raw")
    result = videos(source, name)
    for path in result if every else result[:2]:
        path.unlink()
        path.with_suffix("").mkdir()
        for n in range(3):
            (path.with_suffix("") / f"{n:05}{kind}").touch()
    try:
        scan = scanned(name, source)
        told = " ".join(f"{place}: {what}" for place, what in scan.notes)
        assert len(scan.clips) > 0 or every
    except UserError as error:
        assert every
        told = str(error)
    count = len(result) if every else 2
    assert f"{PLACES[name][0]}: {count} folders of pictures, " in told
    assert f"Put the {PLACES[name][1]} files of the download in their place" in told


@pytest.mark.usefixtures("bare")
def test_a_set_of_frames_alone_ends_with_the_remedy(tmp_path: Path) -> None:
    source = official_trees.ucf101(tmp_path / "raw")
    for path in videos(source, "ucf101"):
        path.unlink()
        path.with_suffix("").mkdir()
        (path.with_suffix("") / "00001.jpg").touch()
    with pytest.raises(UserError, match=r"has no clip that can be used:\n  UCF-101: 24 folders of pictures, v_Apply"):
        dataset("ucf101")(tmp_path / "data/ucf101").prepare(Preparation(source))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ["ucf101", "ave"])
def test_a_folder_too_high_is_answered_with_the_right_one(tmp_path: Path, name: str) -> None:
    source = getattr(official_trees, name)(tmp_path / "raw/from the archive")
    (tmp_path / "raw/a").mkdir()
    with pytest.raises(UserError, match=rf"Expected:[\s\S]*Use --source '{source}'\.$"):
        dataset(name)(tmp_path / f"data/{name}").prepare(Preparation(tmp_path / "raw"))
    with pytest.raises(UserError) as caught:
        dataset(name)(tmp_path / f"data/{name}").prepare(Preparation(tmp_path / "raw/a"))
    assert "Use --source" not in str(caught.value)


@pytest.mark.usefixtures("bare")
def test_clips_outside_of_the_lists_are_counted(tmp_path: Path) -> None:
    source = official_trees.ucf101(tmp_path / "ucf/raw")
    index = source / "ucfTrainTestlist/classInd.txt"
    index.write_text(index.read_text() + "52 YoYo\n53 Diving\n")
    for place in ("YoYo/v_YoYo_g01_c01.avi", "YoYo/v_YoYo_g01_c02.mp4", "Diving/v_Diving_g01_c01.avi", "v_loose.avi"):
        (source / "UCF-101" / place).parent.mkdir(exist_ok=True)
        (source / "UCF-101" / place).touch()
    assert scanned("ucf101", source).notes == [
        ("UCF-101", "1 clip outside of the folders of their classes; left out"),
        ("UCF-101", "3 clips of 2 classes that are not among the 51; left out"),
    ]
    source = official_trees.ave(tmp_path / "ave/raw")
    for name in ("video_x", "video_y"):
        (source / f"AVE/{name}.mp4").touch()
    assert scanned("ave", source).notes == [("AVE", "2 videos not listed in Annotations.txt, video_x first")]


def test_of_two_files_the_official_one_stands_first(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.avi", "b.AVI", "c.mp4"):
        (tmp_path / name).touch()
    media = MediaFiles(".avi", (".avi", ".mkv", ".mp4"))
    assert [path.name for path in media.files(tmp_path)] == ["a.avi", "b.AVI", "a.mkv", "c.mp4"]
    with pytest.raises(UserError, match=r"a\.avi' and '.*a\.mkv' are the same clip\. Keep one of them"):
        media.one_per_clip(tmp_path)
    (tmp_path / "b.mkv").touch()
    (tmp_path / "b.mp4").touch()
    with pytest.raises(UserError, match=r"Keep one of them \(1 more clip with several files\)\.$"):
        media.one_per_clip(tmp_path)


def test_sound_and_video_of_other_kinds_are_prepared(tmp_path: Path) -> None:
    """Real containers: two clips of sixteen came in other ones, a third holds no video at all."""
    ids = [clip for clip in cremad_files.IDS if clip[9:12] in ("ANG", "SAD")]
    source = cremad_files.tree(tmp_path / "raw", ids)
    one, two, three = ids[:3]
    for clip in ids[:3]:
        (source / f"VideoFlash/{clip}.flv").unlink()
    write_clip(source / f"VideoFlash/{one}.mp4", seconds=0.5, audio=False)
    write_clip(source / f"VideoFlash/{two}.webm", seconds=0.5)
    (source / f"VideoFlash/{three}.mkv").write_text("no video")
    (source / f"AudioWAV/{one}.wav").unlink()
    write_audio(source / f"AudioWAV/{one}.mp3", seconds=0.5)
    data = Cremad(tmp_path / "data/cremad", frame_size=32, crop=24)
    report = data.prepare(Preparation(source))
    assert data.cache.index.ids == sorted({*ids} - {three})
    assert "note: VideoFlash: 1 clip as .mkv instead of .flv" in report
    assert "note: VideoFlash: 1 clip as .mp4 instead of .flv" in report
    assert "note: AudioWAV: 1 clip as .mp3 instead of .wav" in report
    assert f"{three}.mkv: cannot be decoded" in report
    assert "note: VideoFlash: 1 clip as .mp4 instead of .flv" in text_of(verification_of(data, False))


def test_a_folder_of_frames_may_be_called_as_its_clip(tmp_path: Path) -> None:
    (tmp_path / "v_Typing_g01_c01.avi").mkdir()
    (tmp_path / "v_Typing_g01_c01.avi/1.jpeg").touch()
    (tmp_path / "empty.avi").mkdir()
    media = MediaFiles(".avi", (".avi", ".mp4"))
    assert [path.name for path in media.files(tmp_path)] == ["empty.avi"]  # decoding says that it is a folder
    assert media.notes("here", ())[0][1].startswith("1 folder of pictures, v_Typing_g01_c01.avi first: ")


def test_what_lies_beside_the_files_of_utd_mhad_is_counted(tmp_path: Path) -> None:
    for name, ends in {"Inertial": ("mat", "txt", "TXT", "csv"), "Skeleton": ("mat",)}.items():
        (tmp_path / name).mkdir()
        for end in ends:
            (tmp_path / name / f"a1_s1_t1_{name.lower()}.{end}").touch()
    assert _utd_raw.scan(tmp_path)[1].problems == [("Inertial", "3 files ignored, not ending in .mat: .csv 1, .txt 2")]
