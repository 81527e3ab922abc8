"""Kinetics-Sounds: its lists in three forms, the lists that are refused, missing clips per class, shapes and parts."""

import json
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
from mcr_bench.datasets.kinetics_sounds import KineticsSounds
from mcr_bench.datasets.raw.web import ks_lists, ks_raw
from mcr_bench.tests.support.media import web_files as web
from mcr_bench.tests.support.media.media_files import lfs_pointer, truncate
from mcr_bench.tests.support.runs.pretended import pretend

SMALL = {"frame_size": 16, "crop": 16, "seconds": 0.5}


def lists_of(texts: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}


def named(folder: Path, numbers: range = range(24)) -> Path:
    """Empty files of the clips: what `scan` sees."""
    for n in numbers:
        place = folder / "clips" / f"{web.ks_video(n)}_000002_000012.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return folder


def write(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> KineticsSounds:
    place = tmp_path_factory.mktemp("ks")
    result = KineticsSounds(place / "data/kinetics-sounds", **SMALL)
    result.prepare(Preparation(web.kinetics_sounds(place / "raw")))
    return result


def test_is_registered_with_31_classes_in_alphabetical_order() -> None:
    assert dataset("kinetics-sounds") is KineticsSounds
    assert list(ks_lists.CLASSES) == sorted(set(ks_lists.CLASSES))
    assert len(ks_lists.CLASSES) == 31


def test_the_card_states_the_counts_and_where_the_lists_are(tmp_path: Path) -> None:
    text = info_of(KineticsSounds(tmp_path))
    for fact in (
        "14,799 train, 1,320 validation, 2,597 test",
        "GeWu-Lab/BML_TPAMI2024",
        "my_train.txt",
        "hubaak/TCMax",
    ):
        assert fact in " ".join(text.split())
    assert "12.8 GB with these settings: 18,716 clips" in text


def test_ks31_has_the_published_parts(data: KineticsSounds) -> None:
    parts = data.parts("ks31", 1)
    assert list(data.protocols()) == ["ks31"]
    assert parts.sizes() == {"train": 12, "val": 4, "test": 8, "": 0}
    assert audit(parts) == []
    assert data.protocols()["ks31"].selection == "validation"
    names = [ks_lists.CLASSES[int(label)] for label in parts.labels]
    assert names == [web.KS[int(key[-2:]) % 4] for key in parts.ids]
    assert {m: f.shape for m, f in data.facts().modalities.items()} == {"audio": (1, 257, 32), "video": (3, 3, 16, 16)}
    batch = data.load("ks31", 1, 0, ("audio", "video")).train
    assert len(batch) == 12


def test_three_forms_are_one_protocol() -> None:
    whole = ks_lists.listed(lists_of({ks_lists.WHOLE: web.ks_json()}))
    for texts in (web.ks_texts(), web.ks_tables()):
        other = ks_lists.listed(lists_of(texts))
        parts = {video: part for of in other.parts.values() for video, part in of.items()}
        assert parts == {v: p for v, p in whole.parts[ks_lists.WHOLE].items() if p != "val"}
        assert all(whole.labels[video] == label for video, label in other.labels.items())
    part = ks_raw.parts(lists_of(web.ks_texts()))
    assert Counter(part.values()) == {"train": 8, "val": 4, "test": 8}
    assert part == ks_raw.parts(lists_of(web.ks_tables()))


@pytest.mark.parametrize("texts", [web.ks_texts(), web.ks_tables()], ids=["txt", "csv"])
def test_forms_without_validation_have_a_protocol_of_their_own(tmp_path: Path, texts: dict[str, str]) -> None:
    source = write(named(tmp_path), texts)
    made = pretend(KineticsSounds(tmp_path / "data", **SMALL), ks_raw.scan(source, []))
    assert list(made.protocols()) == ["ks31-carved"]
    assert "ours" in made.protocols()["ks31-carved"].selection
    assert made.parts("ks31-carved", 1).sizes() == {"train": 8, "val": 4, "test": 8, "": 0}


def refused(source: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        ks_raw.scan(source, [])
    for word in words:
        assert word in str(caught.value)


def test_the_list_that_trains_on_test_clips_is_refused_with_the_reason(tmp_path: Path) -> None:
    trap = web.ks_json(["training" if of == "testing" else of for of in web.SUBSETS])
    source = write(named(tmp_path), {ks_lists.TRAP: trap})
    refused(source, "KS.json has no testing part: 20 clips train, 4 validate", "in its training part", ks_lists.WHOLE)
    result = ks_raw.scan(write(source, {ks_lists.WHOLE: web.ks_json()}), [])
    assert (ks_lists.TRAP, "ignored: its training part contains the test videos of the other lists") in result.notes


def test_a_video_that_trains_and_tests_is_refused(tmp_path: Path) -> None:
    texts = web.ks_texts()
    texts["my_train.txt"] += f"{web.ks_video(20)}_000002_000012,10,2\n"
    refused(
        write(named(tmp_path), texts), "my_test.txt, line 5: the video", "is in test, but also in train (my_train.txt)"
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            {ks_lists.WHOLE: web.ks_json(labels=("bowling", "playing_cymbals", "singing", "tickling"))},
            ["has 4 classes; not among the 31 of ks31: playing_cymbals. Lists of 32 classes"],
        ),
        (
            {name: text.replace("laughing", "playing cymbals") for name, text in web.ks_tables().items()},
            ["train.csv has 4 classes; not among the 31 of ks31: playing_cymbals"],
        ),
        (
            {name: text.replace(",10,25", ",10,31") for name, text in web.ks_texts().items()},
            ["my_train.txt, line 3: class 31, but ks31 has the classes 0 to 30", "Lists of 32 classes"],
        ),
        ({ks_lists.WHOLE: "{"}, ["is not complete JSON", "as it was published"]),
        ({ks_lists.WHOLE: "[]"}, ["is not an object"]),
        ({ks_lists.WHOLE: "{}"}, ["has no 'database'"]),
        (
            {ks_lists.WHOLE: json.dumps({"database": {web.ks_video(1): {"subset": "dev", "label": "bowling"}}})},
            ["expected a subset of training, validation, testing"],
        ),
        (
            {ks_lists.WHOLE: json.dumps({"database": {"x": {"subset": "testing", "label": "bowling"}}})},
            ["'x' is not VIDEO_START_END"],
        ),
        ({"my_train.txt": "a b", "my_test.txt": ""}, ["my_train.txt, line 1: 'a b' is not VIDEO_START,10,CLASS"]),
        ({"train.csv": "a,b,c", "test.csv": ""}, ["train.csv, line 1: 'a,b,c' is not youtube_id,label"]),
        ({"train.csv": "youtube_id,label"}, ["has no complete lists of Kinetics-Sounds. Needed: KS_train_val.json"]),
        ({}, ["has no complete lists"]),
        ({**web.ks_texts(), ks_lists.WHOLE: web.ks_json()}, ["has lists of several forms", "--splits FILE"]),
        (
            {name: text + text.splitlines()[-1] for name, text in web.ks_texts().items()},
            ["my_train.txt, line 13: the video", "is listed before in my_train.txt"],
        ),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, texts: dict[str, str], words: list[str]) -> None:
    refused(write(named(tmp_path), texts), *words)


def test_the_users_lists_win(tmp_path: Path) -> None:
    source = write(named(tmp_path / "raw"), web.ks_texts())
    mine = write(tmp_path / "mine", {ks_lists.WHOLE: web.ks_json()}) / ks_lists.WHOLE
    assert list(ks_raw.scan(source, [mine]).lists) == [ks_lists.WHOLE]


def test_missing_clips_are_counted_per_class(tmp_path: Path) -> None:
    source = write(named(tmp_path, range(0, 24, 2)), {ks_lists.WHOLE: web.ks_json()})
    result = ks_raw.scan(source, [])
    assert len(result.clips) == 12
    told = [what for name, what in result.problems if name == ks_lists.WHOLE]
    assert told == ["6 of 6 clips of laughing missing on disk", "6 of 6 clips of tickling missing on disk"]


def test_a_source_without_its_clips_names_the_layout(tmp_path: Path) -> None:
    source = write(tmp_path, {ks_lists.WHOLE: web.ks_json()})
    (source / "notes.mp4").touch()
    refused(source, "has no clip of the videos in its lists", "1 video: the name is not VIDEO_START_END", "Expected:")


def test_two_files_of_one_clip_are_refused_and_names_may_be_short(tmp_path: Path) -> None:
    source = write(named(tmp_path), {ks_lists.WHOLE: web.ks_json()})
    (source / "clips" / f"{web.ks_video(0)}_000002_000012.mp4").rename(source / f"{web.ks_video(0)}.mp4")
    assert len(ks_raw.scan(source, []).clips) == 24
    (source / f"{web.ks_video(1)}_2.webm").touch()
    refused(source, "are the same clip. Keep one of them")


def test_damaged_clips_are_quarantined(tmp_path: Path) -> None:
    source = write(web.ks_clips(tmp_path / "raw", range(8)), {ks_lists.WHOLE: web.ks_json()})
    lfs_pointer(next(source.rglob(f"{web.ks_video(0)}*")))
    truncate(next(source.rglob(f"{web.ks_video(1)}*")))
    report = KineticsSounds(tmp_path / "data", **SMALL).prepare(Preparation(source))
    assert f"{web.ks_video(0)}_000002_000012.mp4: a git-LFS pointer" in report
    assert f"{web.ks_video(1)}_000002_000012.mp4: " in report
    assert "missing on disk" in report


def test_the_preset_has_the_shapes_of_the_code() -> None:
    preset = presets_of(KineticsSounds)["paper"]
    made = KineticsSounds(Path(), **resolve_dataset(preset.values, KineticsSounds))
    assert [m.shape for m in made.modalities().values()] == [(1, 257, 188), (3, 3, 224, 224)]
