"""AVE: from videos and lists in the official layout to parts; genuine lists; damaged and foreign folders."""

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.plan import Request, make_plan_of
from mcr_bench.bench.presets import presets_of
from mcr_bench.bench.registry import dataset
from mcr_bench.bench.resolve import resolve_dataset
from mcr_bench.datasets import _ave_raw
from mcr_bench.datasets._audit import audit
from mcr_bench.datasets._ave_raw import CLASSES, PARTS, decode, scan
from mcr_bench.datasets._cache import Index
from mcr_bench.datasets._recipe import Clip
from mcr_bench.datasets.ave import Ave
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.media.decode import Unusable, read_frames
from mcr_bench.tests.media_files import frequency, lfs_pointer, truncate, write_clip
from mcr_bench.tests.planned import planned
from mcr_bench.tests.pretended import with_index

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "ave"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no ave folder")
SMALL = {"frame_size": 32, "crop": 24}
SETTINGS = {"version": 1, "backbone": "resnet", "frames": 4, "frame_size": 16}


def line(label: str, video: str, start: int = 0, end: int = 2) -> str:
    return f"{label}&{video}&good&{start}&{end}"


def lists() -> dict[str, list[str]]:
    """24 events of 4 classes and 22 videos: 14 train, 5 val, 5 test; videos 00 and 01 are in two parts each."""
    names = ("Church bell", "Bark", "Frying (food)", "Violin, fiddle")
    rows = [line(names[n % 4], f"video_-{n:04}", n % 2, 2) for n in range(22)]
    train, val, test = rows[:14], rows[14:18], rows[18:]
    val.append(line("Mandolin", "video_-0000"))
    test.append(line("Mandolin", "video_-0001"))
    found = {"trainSet.txt": train, "valSet.txt": val, "testSet.txt": test}
    return {"Annotations.txt": [row for rows in found.values() for row in rows], **found}


def write_lists(folder: Path, rows: dict[str, list[str]], end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, of in rows.items():
        (folder / name).write_bytes("".join(row + end for row in of).encode())
    return folder


def empty_videos(folder: Path) -> Path:
    """What `scan` sees; nothing is decoded."""
    (folder / "AVE").mkdir()
    for n in range(22):
        (folder / f"AVE/video_-{n:04}.mp4").touch()
    return folder


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
    found = Ave(tmp_path_factory.mktemp("data") / "ave", **SMALL)
    found.prepare(Preparation(source))
    return found


def fake(content: dict[str, bytes], location: Path = Path("nowhere")) -> Ave:
    """AVE with an index made from the lists, as if every video had been prepared."""
    found = list(_ave_raw.events("Annotations.txt", content["Annotations.txt"]))
    labels = np.array([CLASSES.index(event.label) for event in found])
    contents = [f"{event.video} {event.start}-{event.end}" for event in found]
    index = Index([event.id for event in found], [event.video for event in found], contents, labels)
    return with_index(Ave(location), index, content)


def encoded(rows: dict[str, list[str]]) -> dict[str, bytes]:
    return {name: "\n".join(of).encode() for name, of in rows.items()}


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
    found = Ave(tmp_path / "data/ave", **SMALL)
    report = found.prepare(Preparation(copy))
    for text in (
        "video_-0002.mp4: a git-LFS pointer",
        "video_-0003.mp4: ",
        "no audio stream",
        "no AVE/video_-0005.mp4",
    ):
        assert text in report
    assert found.cache.index.groups == ["video_-0006", "video_-0007"]
    absent = found.missing_clips(found.cache)
    assert {name: len(ids) for name, ids in absent.items()} == {"trainSet.txt": 12, "valSet.txt": 5, "testSet.txt": 5}
    assert "video_-0002_0-2_frying-food" in absent["trainSet.txt"]


def test_letter_case_line_ends_header_and_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    plain = scan(empty_videos(write_lists(tmp_path / "a", lists())), [])
    assert len(plain.clips) == 24
    assert plain.problems == []
    other = empty_videos(write_lists(tmp_path / "b", lists(), "\r\n"))
    notes = other / "Annotations.txt"
    notes.write_bytes(b"\xef\xbb\xbfCategory&VideoID&Quality&StartTime&EndTime\r\n" + notes.read_bytes())
    notes.rename(other / "annotations.TXT")
    video = other / "AVE/video_-0007.mp4"
    video.rename(video.with_suffix(".MP4"))
    (other / "AVE").rename(other / "ave")
    found = scan(other, [])
    assert [(c.id, c.label, c.group, c.span) for c in found.clips] == [
        (c.id, c.label, c.group, c.span) for c in plain.clips
    ]
    assert _ave_raw.parts(found.lists) == _ave_raw.parts(plain.lists)


def test_what_the_lists_name_in_vain_is_reported(tmp_path: Path) -> None:
    rows = lists()
    rows["Annotations.txt"] += [line("Bark", "video_-0002", 3, 3), rows["Annotations.txt"][0]]
    rows["trainSet.txt"] += [line("Bark", "video_-0002", 3, 3), line("Bus", "video_-0003", 1, 2)]
    source = empty_videos(write_lists(tmp_path, rows))
    (source / "AVE/video_-0006.mp4").unlink()
    found = scan(source, [])
    assert dict(found.problems) == {
        "video_-0002_3-3_bark": "in train: the event ends at 3 s, where it starts or before",
        "video_-0000_0-2_church-bell": "in Annotations.txt more than once; taken once",
        "video_-0006_0-2_frying-food": "in train: no AVE/video_-0006.mp4",
        "video_-0003_1-2_bus": "in train, but not in Annotations.txt",
    }
    assert len(found.clips) == 23


def test_events_that_a_list_repeats_are_reported(tmp_path: Path) -> None:
    rows = lists()
    for name in ("trainSet.txt", "testSet.txt"):
        rows[name].append(rows[name][-1])
    found = scan(empty_videos(write_lists(tmp_path, rows)), [])
    assert found.problems == [
        ("video_-0013_1-2_bark", "in trainSet.txt more than once; taken once"),
        ("video_-0001_0-2_mandolin", "in testSet.txt more than once; taken once"),
    ]
    assert len(found.clips) == 24


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("trainSet.txt", "Barking&video_-0001&good&0&2", r"trainSet\.txt, line 15: unknown class of AVE.*mean Bark"),
        ("valSet.txt", "Bark&video_-0001&good&0", r"valSet\.txt, line 6: .*class&VIDEO&quality&start&end"),
        ("Annotations.txt", "Bark&video_-0001&good&0&2.5", r"Annotations\.txt, line 25"),
        ("testSet.txt", lists()["trainSet.txt"][0], "testSet.txt names video_-0000_0-2_church-bell, .* train"),
    ],
)
def test_wrong_lines_are_refused_by_name_and_number(tmp_path: Path, name: str, row: str, text: str) -> None:
    rows = lists()
    rows[name] += [row]
    with pytest.raises(UserError, match=text) as caught:
        scan(empty_videos(write_lists(tmp_path, rows)), [])
    assert "AVE's own download" in str(caught.value)


def test_foreign_folders_and_unreadable_lists_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = empty_videos(write_lists(tmp_path / "raw", lists()))
    made = Ave(tmp_path / "data/ave", **SMALL)
    (source / "valSet.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"valSet\.txt' cannot be read as text"):
        made.prepare(Preparation(source))
    lfs_pointer(source / "valSet.txt")
    with pytest.raises(UserError, match=r"valSet\.txt' is a git-LFS pointer"):
        made.prepare(Preparation(source))
    (source / "valSet.txt").unlink()
    with pytest.raises(UserError, match=r"no valSet\.txt\. Expected:\nSOURCE/"):
        made.prepare(Preparation(source))
    with pytest.raises(UserError, match=r"no Annotations\.txt and no .* and no AVE"):
        made.prepare(Preparation(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"unknown split list 'folds\.json'"):
        made.prepare(Preparation(source, [tmp_path / "folds.json"]))
    assert not list(tmp_path.glob("data/ave/*/manifest.json"))


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


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, listed = empty_videos(write_lists(tmp_path / "raw", lists())), Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "AVE":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(UserError, match=r"raw/AVE' cannot be read \(Permission denied\)\. Make it readable"):
        Ave(tmp_path / "data/ave", **SMALL).prepare(Preparation(source))
    assert not (tmp_path / "data").exists()


def test_lists_of_the_user_win_over_those_of_the_folder(tmp_path: Path) -> None:
    source = empty_videos(write_lists(tmp_path / "raw", lists()))
    mine = tmp_path / "testSet.txt"
    mine.write_text("\n".join(lists()["testSet.txt"][:2]))
    assert Counter(_ave_raw.parts(scan(source, [mine]).lists).values()) == {"train": 14, "val": 5, "test": 2}


def test_two_files_of_one_video_and_two_lists_of_one_name_are_refused(tmp_path: Path) -> None:
    source = empty_videos(write_lists(tmp_path / "raw", lists()))
    mine = [write_lists(tmp_path / place, lists()) / "testSet.txt" for place in ("a", "b")]
    with pytest.raises(UserError, match=r"a/testSet\.txt' and '.*b/testSet\.txt' are both testSet\.txt\. Name one"):
        scan(source, mine)
    for name in ("video_-0000.m4a", "video_-0000.mp4.part", "._video_-0000.mp4"):
        (source / "AVE" / name).touch()  # no videos of this clip
    assert len(scan(source, mine[:1] * 2).clips) == 24
    other = source / "AVE/video_-0003.webm"
    other.touch()
    with pytest.raises(UserError, match=r"video_-0003\.mp4' and '.*0003\.webm' are the same clip\. Keep one of them"):
        scan(source, [])


def test_official_dedup_keeps_a_video_in_the_last_of_its_parts() -> None:
    rows = lists()
    both = line("Banjo", "video_-0014")
    rows["testSet.txt"] += [both]
    rows["Annotations.txt"] += [both]
    found = fake(encoded(rows))
    official, dedup = found.parts("official", 1), found.parts("official-dedup", 1)
    assert official.sizes() == {"train": 14, "val": 5, "test": 6, "": 0}
    assert dedup.sizes() == {"train": 12, "val": 4, "test": 6, "": 3}
    left = {i for i, part in zip(dedup.ids, dedup.part, strict=True) if not part}
    assert left == {"video_-0000_0-2_church-bell", "video_-0001_1-2_bark", "video_-0014_0-2_frying-food"}
    shared = {(o.kind, o.parts): o.shared for o in audit(official)}
    assert shared == {  # of the videos 00 and 14 the two events have the same span, so the same content
        ("group", ("train", "val")): 1,
        ("group", ("train", "test")): 1,
        ("group", ("val", "test")): 1,
        ("content", ("train", "val")): 1,
        ("content", ("val", "test")): 1,
    }
    assert audit(dedup) == []
    assert "3 events of 3 videos leave (2 from train, 1 from val)" in found.protocols()["official-dedup"].card


@real
def test_the_genuine_lists_share_ten_and_eight_videos() -> None:
    content = {name: (REAL / name).read_bytes() for name in ("Annotations.txt", *PARTS)}
    found = fake(content)
    official = found.parts("official", 1)
    assert official.sizes() == {"train": 3339, "val": 402, "test": 402, "": 0}
    assert len(set(official.ids)) == 4143
    assert len(set(official.groups)) == 4097
    shared = {(o.kind, o.parts): (o.shared, o.relabelled) for o in audit(official)}
    assert shared[("group", ("train", "val"))] == (10, 10)
    assert shared[("group", ("train", "test"))] == (8, 8)
    assert not [key for key in shared if key[0] == "id" or key[1] == ("val", "test")]
    protocols = found.protocols()
    assert list(protocols) == ["official", "official-dedup"]
    assert "10 videos in train and validation, 8 videos in train and test" in protocols["official"].note
    assert found.parts("official-dedup", 1).sizes() == {"train": 3320, "val": 402, "test": 402, "": 19}
    assert audit(found.parts("official-dedup", 1)) == []
    assert "LEAK" not in protocols["official-dedup"].note


@real
def test_one_genuine_event_has_no_length(tmp_path: Path) -> None:
    (tmp_path / "AVE").mkdir()
    (tmp_path / "AVE/VWi2ENBuTbw.mp4").touch()
    (tmp_path / "AVE/RUhOCu3LNXM.mp4").touch()
    found = scan(tmp_path, [REAL / name for name in ("Annotations.txt", *PARTS)])
    assert [clip.id for clip in found.clips] == ["RUhOCu3LNXM_0-10_church-bell"]
    assert [key for key, reason in found.problems if "the event ends" in reason] == ["VWi2ENBuTbw_0-0_church-bell"]
    assert len(found.problems) == 4142


def test_presets_of_the_paper() -> None:
    presets = presets_of(Ave)
    assert list(presets) == ["paper", "paper-transformers"]
    assert {p.origin for p in presets.values()} == {"official-code"}
    made = {name: Ave(Path(), **resolve_dataset(p.values, Ave)) for name, p in presets.items()}
    shapes = {name: [m.shape for m in ave.modalities().values()] for name, ave in made.items()}
    assert shapes["paper"] == [(1, 257, 1004), (4, 3, 224, 224)]
    assert shapes["paper-transformers"] == [(160_000,), (10, 3, 224, 224)]
    assert presets["paper"].pairs == ((109, 1), (19, 1), (337, 1))
