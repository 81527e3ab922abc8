"""Computational sequences of the CMU SDK: genuine labels, aligned features, and what is refused."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Scan
from mcr_bench.datasets.formats.csd import open_csd, read_labels
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.raw.mosi_raw import decode, scan
from mcr_bench.datasets.sequences.pickles import read_parts
from mcr_bench.tests.support.media.mosi_files import (
    NAMES,
    SMALL,
    VIDEOS,
    entries,
    interval,
    labels,
    sample,
    score,
    segments,
    write_csd,
    write_sequences,
)

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not (REAL / "mosi").is_dir(), reason="MCR_BENCH_TEST_DATA has no mosi folder")


def scan_folder(source: Path, *splits: Path) -> Scan:
    return scan(source, splits, "mosi_data.pkl", SMALL, dict.fromkeys(SMALL, 50))


@real
def test_genuine_labels_and_folds_of_mosi_give_every_video_its_part(tmp_path: Path) -> None:
    genuine = REAL / "mosi/CMU_MOSI_Opinion_Labels.csd"
    told = read_labels(open_csd(genuine))
    assert len(told) == 2199
    assert (min(s.score for s in told), max(s.score for s in told)) == (-3, 3)
    assert told[1].name == "03bSnISJMiM[1]"
    assert told[1].score == pytest.approx(-0.8)
    assert told[1].interval == pytest.approx((56.045, 66.781), abs=1e-3)
    shutil.copy(genuine, tmp_path)
    few = [s for s in told if s.name.endswith(("[0]", "[1]", "[2]"))]
    write_csd(tmp_path / "text.csd", {s.name: (np.ones((1, 2)), [s.interval]) for s in few})
    for m in ("audio", "video"):
        shutil.copy(tmp_path / "text.csd", tmp_path / f"{m}.csd")
    channels = dict.fromkeys(SMALL, 2)
    scanned = scan(tmp_path, [REAL / "mosi/standard_folds.json"], "mosi_data.pkl", channels, dict.fromkeys(SMALL, 50))
    assert len(scanned.clips) == len(few) == 3 * 93
    assert {reason for _, reason in scanned.problems} == {"no text and no audio and no video"}
    assert len(scanned.problems) == 2199 - len(few)
    part = read_parts(scanned.lists["standard_parts.json"])
    videos = {name: {c.group for c in scanned.clips if part[c.id] == name} for name in ("train", "val", "test")}
    assert {name: len(result) for name, result in videos.items()} == {"train": 52, "val": 10, "test": 31}
    assert scanned.lists["standard_folds.json"] == (REAL / "mosi/standard_folds.json").read_bytes()


@real
def test_genuine_folds_of_mosei_have_the_stated_sizes(tmp_path: Path) -> None:
    write_sequences(tmp_path)
    listed = json.loads((REAL / "mosei/standard_folds.json").read_text())
    scanned = scan_folder(tmp_path, REAL / "mosei/standard_folds.json")
    assert {name: len(videos) for name, videos in listed.items()} == {"train": 2249, "valid": 300, "test": 678}
    part = read_parts(scanned.lists["standard_parts.json"])
    assert part["286943[0]"] == "test"
    assert ("03bSnISJMiM[0]", "its video is in no fold of standard_folds.json") in scanned.problems


@pytest.mark.parametrize("aligned", [False, True])
def test_segments_with_their_scores_groups_and_parts(aligned: bool, tmp_path: Path) -> None:
    scanned = scan_folder(write_sequences(tmp_path, aligned))
    assert scanned.problems == []
    assert [c.id for c in scanned.clips] == sorted(c.id for c in scanned.clips)
    clips = {c.id: c for c in scanned.clips}
    part = read_parts(scanned.lists["standard_parts.json"])
    for name, videos in VIDEOS.items():
        for video, k in segments(videos):
            clip = clips[f"{video}[{k}]"]
            assert (clip.label, clip.group, clip.span) == (pytest.approx(score(video, k)), video, (10 * k, 10 * k + 8))
            assert part[clip.id] == {"valid": "val"}.get(name, name)
            rows = decode(clip, {"steps": 50, "silence": "drop"})
            for m, x in sample(video, k).items():
                assert np.array_equal(rows[m], x)
    assert len(clips) == 32


def test_long_segments_keep_their_first_steps_in_every_modality(tmp_path: Path) -> None:
    clip = scan_folder(write_sequences(tmp_path)).clips[0]
    rows = decode(clip, {"steps": 2, "silence": "drop"})
    video, k = clip.id.rstrip("]").split("[")
    for m, x in sample(video, int(k)).items():
        assert np.array_equal(rows[m], x[:2])


def without(modality: str, name: str) -> dict[str, Any]:
    held = entries(modality)
    del held[name]
    return held


def test_segments_that_a_file_lacks_are_left_out_by_name(tmp_path: Path) -> None:
    told = labels()
    told["286943"] = (told["286943"][0][:3], told["286943"][1][:3])
    source = write_sequences(
        tmp_path, audio=without("audio", "188343[2]"), video=without("video", "c5xsKMxpXnc[0]"), labels=told
    )
    scanned = scan_folder(source)
    assert scanned.problems == [
        ("188343[2]", "no audio"),
        ("286943[3]", "no label"),
        ("c5xsKMxpXnc[0]", "no video"),
    ]
    assert len(scanned.clips) == 29


def changed(modality: str, name: str, features: Any = None, intervals: Any = None) -> dict[str, Any]:
    held = entries(modality)
    old = held[name]
    held[name] = (old[0] if features is None else features, old[1] if intervals is None else intervals)
    return held


AT = "188343[2]"
FIRST = entries("audio")[AT]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"audio": {"188343": FIRST}}, "is not aligned: its entry '188343' is not a segment"),
        ({"text": {"other[0]": FIRST}}, "have no segment in common"),
        ({"audio": changed("audio", AT, intervals=FIRST[1] + 0.5)}, r"the intervals of '188343\[2\]' differ"),
        (
            {"audio": changed("audio", AT, intervals=FIRST[1] * np.nan)},
            r"the intervals of '188343\[2\]' are not numbers",
        ),
        ({m: changed(m, AT, intervals=FIRST[1][::-1]) for m in SMALL}, "are not numbers in the order of time"),
        ({"labels": {**labels(), AT: (np.zeros((1, 1)), np.array([interval(2)]))}}, r"'188343\[2\]' has two labels"),
        ({"audio": changed("audio", AT, FIRST[0][1:], FIRST[1][1:])}, r"the intervals of '188343\[2\]' differ"),
        ({"labels": {**labels(), "188343": (np.zeros((4, 1)), np.full((4, 2), 500.0))}}, "outside the interval of its"),
        ({"labels": {**labels(), "188343": (np.zeros((3, 1)), np.zeros((4, 2)))}}, "one row per segment in both"),
        ({"labels": {**labels(), "188343": (np.full((4, 1), 3.5), labels()["188343"][1])}}, "is 3.5; allowed: -3 to 3"),
        ({"labels": {**labels(), "188343": (np.full((4, 1), np.nan), labels()["188343"][1])}}, "is nan; allowed"),
        (
            {"text": {n: (np.array([[b"word"]] * len(i)), i) for n, (_, i) in entries("text").items()}},
            "needed: numbers",
        ),
        ({"audio": changed("audio", AT, intervals=FIRST[1][:, :1])}, r"needed: numbers \(T, 2\)"),
        ({"video": {n: (x[:, :3], i) for n, (x, i) in entries("video").items()}}, "--set dataset.video_channels=3"),
        ({"audio": None}, r"has no \.csd file of audio"),
        ({"labels": None}, r"has no \.csd file of labels"),
    ],
)
def test_sequences_that_do_not_fit_are_errors(replaced: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        scan_folder(write_sequences(tmp_path, **replaced))


def test_a_segment_with_more_intervals_than_steps_in_every_file_is_left_out(tmp_path: Path) -> None:
    cut = {m: changed(m, AT, entries(m)[AT][0][1:]) for m in SMALL}
    ((name, reason),) = scan_folder(write_sequences(tmp_path, **cut)).problems
    assert name == AT
    assert reason == f"{len(FIRST[1]) - 1} steps of features, but {len(FIRST[1])} intervals"


def test_a_segment_whose_modalities_differ_in_steps_is_unusable(tmp_path: Path) -> None:
    scanned = scan_folder(write_sequences(tmp_path, audio=changed("audio", AT, FIRST[0][1:])))
    clip = next(clip for clip in scanned.clips if clip.id == AT)
    with pytest.raises(Unusable, match=r"not aligned: they have different numbers of steps \(text \d, audio \d"):
        decode(clip, {"steps": 50, "silence": "drop"})


def test_a_segment_whose_features_are_no_numbers_is_unusable(tmp_path: Path) -> None:
    scanned = scan_folder(write_sequences(tmp_path, audio=changed("audio", AT, np.array([[b"word"]] * len(FIRST[0])))))
    with pytest.raises(Unusable, match=r"'features' of '188343\[2\]' is \|S4 .* needed: numbers"):
        decode(next(clip for clip in scanned.clips if clip.id == AT), {"steps": 50, "silence": "drop"})


def test_two_files_of_one_modality_are_an_error(tmp_path: Path) -> None:
    source = write_sequences(tmp_path)
    shutil.copy(source / f"{NAMES['video']}.csd", source / "CMU_MOSI_OpenFace_2.CSD")
    with pytest.raises(UserError, match=r"are both video\. Keep only one"):
        scan_folder(source)


def test_damaged_and_foreign_files_are_errors(tmp_path: Path) -> None:
    source = write_sequences(tmp_path)
    path = source / f"{NAMES['audio']}.csd"
    whole = path.read_bytes()
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (whole[: len(whole) // 2], "truncated"),
        (b"no HDF5", "is not an HDF5 file"),
        (b"", "is not an HDF5 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            scan_folder(source)
    path.unlink()
    write_csd(path, {}, "a/b")
    with pytest.raises(UserError, match="is not a computational sequence"):
        scan_folder(source)


def put_elsewhere(how: str, file: Any, place: str) -> None:
    """What stands in `place` lies in the file other.csd, or in another place of this one."""
    if how == "virtual":
        layout = h5py.VirtualLayout(shape=(2, 2), dtype="f4")
        layout[:] = h5py.VirtualSource("other.csd", place, shape=(2, 2))
        file.create_virtual_dataset(place, layout)
    elif how == "external":
        file.create_dataset(place, (2, 2), "f4", external=[("/etc/passwd", 0, 16)])
    else:
        file[place] = h5py.SoftLink("/elsewhere") if how == "soft link" else h5py.ExternalLink("other.csd", place)


@pytest.mark.parametrize(
    ("how", "place"),
    [
        ("virtual", "r/data/v[0]/features"),
        ("external", "r/data/v[0]/intervals"),
        ("soft link", "r/data/v[0]/features"),
        *(("link", place) for place in ("r", "r/data", "r/data/v[0]", "r/data/v[0]/features")),
    ],
)
def test_nothing_is_read_from_other_files(how: str, place: str, tmp_path: Path) -> None:
    path, values = tmp_path / "a.csd", np.ones((2, 2), np.float32)
    for name in (path, tmp_path / "other.csd"):
        write_csd(name, {"v[0]": (values, values)}, "r")
    with h5py.File(path, "a") as file:
        file["elsewhere"] = values
        del file[place]
        put_elsewhere(how, file, place)
    with pytest.raises(UserError, match=r"a\.csd': '.*' is a link or is stored in another file\. .*Export"):
        read_labels(open_csd(path))


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    path = write_sequences(tmp_path) / f"{NAMES['audio']}.csd"
    path.unlink()
    path.symlink_to(tmp_path / "away.csd")
    with pytest.raises(UserError, match=r"COVAREP\.csd' cannot be read \(No such file"):
        scan_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "one list of folds is needed"),
        ("[1, 2]", "is not {train, valid, test} of videos"),
        ('{"train": [], "valid": []}', "is not {train, valid, test} of videos"),
        ('{"train": ["a"], "valid": [], "test": ["a"]}', "video 'a' is in train and in test"),
        ("[" * 100_000, "is not {train, valid, test} of videos"),
        ("{", "is not {train, valid, test} of videos"),
    ],
)
def test_fold_lists_that_are_none_are_errors(content: str | None, message: str, tmp_path: Path) -> None:
    source = write_sequences(tmp_path)
    (source / "standard_folds.json").unlink()
    if content is not None:
        (source / "standard_folds.json").write_text(content)
    with pytest.raises(UserError, match=message):
        scan_folder(source)


def test_a_changed_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csd"
    for value in (1.0, 2.0):
        write_csd(tmp_path / "new.csd", {"v[0]": (np.full((1 + int(value), 1), value), np.zeros((1 + int(value), 2)))})
        os.replace(tmp_path / "new.csd", path)
        assert open_csd(path).features("v[0]")[0, 0] == value
