"""The lists of AVE: how they are read and matched to videos, what is refused, parts without leaks; genuine lists."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.overlaps import audit
from mcr_bench.datasets.ave import Ave
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.opened import Index
from mcr_bench.datasets.raw import ave_raw as _ave_raw
from mcr_bench.datasets.raw.ave_raw import CLASSES, PARTS, scan
from mcr_bench.tests.support.media.ave_files import SMALL, empty_videos, line, lists, write_lists
from mcr_bench.tests.support.media.media_files import lfs_pointer
from mcr_bench.tests.support.runs.pretended import with_index

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "ave"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no ave folder")


def fake(content: dict[str, bytes], location: Path = Path("nowhere")) -> Ave:
    """AVE with an index made from the lists, as if every video had been prepared."""
    result = list(_ave_raw.events("Annotations.txt", content["Annotations.txt"]))
    labels = np.array([CLASSES.index(event.label) for event in result])
    contents = [f"{event.video} {event.start}-{event.end}" for event in result]
    index = Index([event.id for event in result], [event.video for event in result], contents, labels)
    return with_index(Ave(location), index, content)


def encoded(rows: dict[str, list[str]]) -> dict[str, bytes]:
    return {name: "\n".join(of).encode() for name, of in rows.items()}


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
    scanned = scan(other, [])
    assert [(c.id, c.label, c.group, c.span) for c in scanned.clips] == [
        (c.id, c.label, c.group, c.span) for c in plain.clips
    ]
    assert _ave_raw.parts(scanned.lists) == _ave_raw.parts(plain.lists)


def test_what_the_lists_name_in_vain_is_reported(tmp_path: Path) -> None:
    rows = lists()
    rows["Annotations.txt"] += [line("Bark", "video_-0002", 3, 3), rows["Annotations.txt"][0]]
    rows["trainSet.txt"] += [line("Bark", "video_-0002", 3, 3), line("Bus", "video_-0003", 1, 2)]
    source = empty_videos(write_lists(tmp_path, rows))
    (source / "AVE/video_-0006.mp4").unlink()
    scanned = scan(source, [])
    assert dict(scanned.problems) == {
        "video_-0002_3-3_bark": "in train: the event ends at 3 s, which is not after its start",
        "video_-0000_0-2_church-bell": "in Annotations.txt more than once; used once",
        "video_-0006_0-2_frying-food": "in train: no AVE/video_-0006.mp4",
        "video_-0003_1-2_bus": "in train, but not in Annotations.txt",
    }
    assert len(scanned.clips) == 23


def test_events_that_a_list_repeats_are_reported(tmp_path: Path) -> None:
    rows = lists()
    for name in ("trainSet.txt", "testSet.txt"):
        rows[name].append(rows[name][-1])
    scanned = scan(empty_videos(write_lists(tmp_path, rows)), [])
    assert scanned.problems == [
        ("video_-0013_1-2_bark", "in trainSet.txt more than once; used once"),
        ("video_-0001_0-2_mandolin", "in testSet.txt more than once; used once"),
    ]
    assert len(scanned.clips) == 24


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("trainSet.txt", "Barking&video_-0001&good&0&2", r"trainSet\.txt, line 15: unknown class of AVE.*mean Bark"),
        ("valSet.txt", "Bark&video_-0001&good&0", r"valSet\.txt, line 6: .*class&VIDEO&quality&start&end"),
        ("Annotations.txt", "Bark&video_-0001&good&0&2.5", r"Annotations\.txt, line 25"),
        ("testSet.txt", lists()["trainSet.txt"][0], "testSet.txt lists video_-0000_0-2_church-bell, .* train"),
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
    with pytest.raises(
        UserError, match=r"a/testSet\.txt' and '.*b/testSet\.txt' are both testSet\.txt\. Give only one"
    ):
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
    result = fake(encoded(rows))
    official, dedup = result.parts("official", 1), result.parts("official-dedup", 1)
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
    assert "3 events of 3 videos are removed (2 from train, 1 from val)" in result.protocols()["official-dedup"].card


@real
def test_the_genuine_lists_share_ten_and_eight_videos() -> None:
    content = {name: (REAL / name).read_bytes() for name in ("Annotations.txt", *PARTS)}
    result = fake(content)
    official = result.parts("official", 1)
    assert official.sizes() == {"train": 3339, "val": 402, "test": 402, "": 0}
    assert len(set(official.ids)) == 4143
    assert len(set(official.groups)) == 4097
    shared = {(o.kind, o.parts): (o.shared, o.relabelled) for o in audit(official)}
    assert shared[("group", ("train", "val"))] == (10, 10)
    assert shared[("group", ("train", "test"))] == (8, 8)
    assert not [key for key in shared if key[0] == "id" or key[1] == ("val", "test")]
    protocols = result.protocols()
    assert list(protocols) == ["official", "official-dedup"]
    assert "10 videos in train and validation, 8 videos in train and test" in protocols["official"].note
    assert result.parts("official-dedup", 1).sizes() == {"train": 3320, "val": 402, "test": 402, "": 19}
    assert audit(result.parts("official-dedup", 1)) == []
    assert "LEAK" not in protocols["official-dedup"].note


@real
def test_one_genuine_event_has_no_length(tmp_path: Path) -> None:
    (tmp_path / "AVE").mkdir()
    (tmp_path / "AVE/VWi2ENBuTbw.mp4").touch()
    (tmp_path / "AVE/RUhOCu3LNXM.mp4").touch()
    scanned = scan(tmp_path, [REAL / name for name in ("Annotations.txt", *PARTS)])
    assert [clip.id for clip in scanned.clips] == ["RUhOCu3LNXM_0-10_church-bell"]
    assert [key for key, reason in scanned.problems if "the event ends" in reason] == ["VWi2ENBuTbw_0-0_church-bell"]
    assert len(scanned.problems) == 4142
