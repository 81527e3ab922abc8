"""The raw samples of CMU-MOSI: stripped or left out with reasons, ids in every form, files of another form refused."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.raw.mosi_raw import decode
from mcr_bench.tests.support.media.mosi_files import (
    ALL,
    VIDEOS,
    mosi,
    multibench,
    prepared,
    sample,
    write_csd,
    write_pickle,
    write_sequences,
)

SETTINGS = {"steps": 50, "silence": "drop"}
Content = dict[str, dict[str, Any]]


def clip_of(tmp_path: Path, **values: Any) -> Clip:
    """One segment of .csd files with the given features."""
    for m in ALL:
        x = np.array(values[m], np.float64)
        write_csd(tmp_path / f"{m}.csd", {"v[0]": (x, np.zeros((len(x), 2)))})
    return Clip("v[0]", 0.0, "v", {m: tmp_path / f"{m}.csd" for m in ALL})


def test_leading_steps_without_text_are_stripped_from_every_modality(tmp_path: Path) -> None:
    clip = clip_of(
        tmp_path, text=[[0, 0], [0, 0], [0, 5], [0, 0], [1, 1]], audio=np.arange(5)[:, None], video=[[9]] * 5
    )
    rows = decode(clip, SETTINGS)
    assert rows["text"].tolist() == [[0, 5], [0, 0], [1, 1]]  # zeros between words stay
    assert rows["audio"].tolist() == [[2], [3], [4]]
    assert rows["video"].dtype == np.float32
    assert decode(clip, {**SETTINGS, "steps": 2})["audio"].tolist() == [[2], [3]]


inf, nan = np.inf, np.nan


@pytest.mark.parametrize(
    ("values", "silence", "reason"),
    [
        ({"text": [[0], [0]]}, "drop", "no text"),
        ({"audio": [[1], [nan]]}, "zero", "audio has 1 values that are nan"),
        ({"audio": [[inf], [-inf]]}, "zero", "audio has 1 values that are inf"),
        (
            {"audio": [[1], [-inf]]},
            "drop",
            "audio has 1 values that are -inf (dataset.silence=zero replaces them by 0)",
        ),
        ({"video": [[1], [-inf]]}, "zero", "video has 1 values that are -inf"),
        ({"text": [[1], [nan]]}, "zero", "text has 1 values that are nan"),
        ({"video": [[1e300], [0]]}, "drop", "video has 1 values that are inf"),
    ],
)
def test_segments_that_cannot_be_used_say_why(
    values: dict[str, Any], silence: str, reason: str, tmp_path: Path
) -> None:
    clip = clip_of(tmp_path, **{**{m: [[1], [2]] for m in ALL}, **values})
    with pytest.raises(Unusable) as caught:
        decode(clip, {**SETTINGS, "silence": silence})
    assert str(caught.value).startswith(reason)


def test_silence_becomes_zero_where_the_dial_says_so(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, text=[[1], [2]], audio=[[1, -inf], [-inf, 2]], video=[[1], [2]])
    assert decode(clip, {**SETTINGS, "silence": "zero"})["audio"].tolist() == [[1, 0], [0, 2]]


def damaged(content: Content) -> None:
    """One training sample without text, one with NaN, one with silence."""
    content["train"]["text"][2] = 0
    content["train"]["audio"][5, -1, 0] = nan
    content["train"]["audio"][7, -1, 0] = -inf


def test_bad_samples_are_quarantined_with_reasons_and_the_rest_is_kept(tmp_path: Path) -> None:
    data = mosi(tmp_path)
    report = data.prepare(Preparation(write_pickle(tmp_path / "raw", change=damaged)))
    assert "3 in quarantine" in report
    for text in ("no text: all of its steps are zero", "audio has 1 values that are nan", "dataset.silence=zero"):
        assert text in report
    assert len(data.load("standard", 1, 0, ALL).train) == 13
    assert len(verification_of(data, False).inventory.left_out) == 3
    zeroed = prepared(tmp_path, tmp_path / "raw", silence="zero")
    assert len(zeroed.load("standard", 1, 0, ALL).train) == 14
    assert zeroed.folder != data.folder
    assert "Up to date" in data.prepare(Preparation(tmp_path / "raw"))


def test_ids_in_every_published_form(tmp_path: Path) -> None:
    for form, first, group in (
        ("spans", "-UUCSKoHeMA[0.0-8.0]", "-UUCSKoHeMA"),
        ("brackets", "-UUCSKoHeMA[0]", "-UUCSKoHeMA"),
        ("video", "-UUCSKoHeMA#1", "-UUCSKoHeMA"),
    ):
        clips = mosi(tmp_path).scan(write_pickle(tmp_path / form, form=form), []).clips
        assert (clips[0].id, clips[0].group) == (first, group)
        assert {clip.group for clip in clips} == {v for videos in VIDEOS.values() for v in videos}
        assert len({clip.id for clip in clips}) == 32


def test_underscores_end_a_video_only_after_a_name_of_youtube_or_vimeo(tmp_path: Path) -> None:
    def rename(content: Content) -> None:
        content["test"]["id"] = np.array(
            ["x266rUJQC_8_12", "x266rUJQC_8", "286943_3", "286943$_$4", "a_b_1", "x266rUJQC_8[5]", "286943", "b"]
        )

    clips = mosi(tmp_path).scan(write_pickle(tmp_path / "raw", change=rename), []).clips
    groups = {clip.id: clip.group for clip in clips}
    assert groups["x266rUJQC_8_12"] == groups["x266rUJQC_8#1"] == groups["x266rUJQC_8[5]"] == "x266rUJQC_8"
    assert groups["286943_3"] == groups["286943$_$4"] == groups["286943#1"] == "286943"
    assert (groups["a_b_1#1"], groups["b#1"]) == ("a_b_1", "b")


def test_an_id_that_occurs_twice_keeps_its_first_sample(tmp_path: Path) -> None:
    def twice(content: Content) -> None:
        content["test"]["id"][3] = content["train"]["id"][0]

    source = write_pickle(tmp_path / "raw", change=twice)
    scanned = mosi(tmp_path).scan(source, [])
    assert scanned.problems == [("03bSnISJMiM[0.0-8.0] in test", "the same id is already in train")]
    rows = decode(next(clip for clip in scanned.clips if clip.id == "03bSnISJMiM[0.0-8.0]"), SETTINGS)
    assert np.array_equal(rows["audio"], sample("03bSnISJMiM", 0)["audio"])


def remove(part: str, key: str) -> Callable[[Content], object]:
    return lambda content: content[part].pop(key)


def put(part: str, key: str, value: Any) -> Callable[[Content], object]:
    return lambda content: content[part].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("valid"), "holds train, test. Expected a dict of train, valid, test"),
        (remove("test", "vision"), "'test' has no 'vision'"),
        (remove("train", "id"), "'train' has no 'id'"),
        (put("train", "text", [1, 2]), "'text' of 'train' is not an array but list"),
        (put("train", "text", np.zeros((16, 10))), r"'text' of 'train' is float64 \(16, 10\)"),
        (put("train", "audio", np.zeros((15, 10, 3))), "'train' has different numbers of samples"),
        (put("train", "audio", np.zeros((16, 9, 3))), "different numbers of steps: .* Use the aligned pickle"),
        (put("valid", "labels", np.zeros((8, 1, 7))), "one score each"),
        (put("valid", "labels", np.full((8, 1, 1), 4.0)), "is 4; allowed: -3 to 3"),
        (put("valid", "labels", np.full((8, 1, 1), nan)), "is nan; allowed: -3 to 3"),
        (put("valid", "id", np.zeros((8, 2))), "'id' of 'valid' is float64"),
        (put("valid", "id", np.array([b"\xff"] * 8)), "'id' of 'valid' is not text"),
        (put("valid", "id", [["a", "0", "1"]] * 7 + [["a", "0"]]), "'id' of 'valid' is ragged .* Needed: text"),
        (put("valid", "id", np.full((8, 1), 0x110000, "u4").view("U1")[:, 0]), "characters that do not exist"),
        (put("valid", "id", np.array(["\ud800"] * 8, object)), "'id' of 'valid' is not text"),
        (put("test", "vision", np.ones((8, 10, 35))), "--set dataset.video_channels=35"),
    ],
)
def test_pickles_of_another_form_are_errors(change: Callable[[Content], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        mosi(tmp_path).prepare(Preparation(write_pickle(tmp_path / "raw", change=change)))
    assert not (tmp_path / "data").exists()


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_that_would_run_something_is_refused_and_not_run(tmp_path: Path) -> None:
    content = multibench() | {"extra": {"x": Attack(tmp_path / "was-run")}}
    source = tmp_path / "raw"
    source.mkdir()
    (source / "mosi_data.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"mosi_data\.pkl' holds 'posix\.system'"):
        mosi(tmp_path).prepare(Preparation(source))
    assert not (tmp_path / "was-run").exists()
    assert not (tmp_path / "data").exists()


def test_folders_of_neither_or_both_forms_are_errors(tmp_path: Path) -> None:
    for source in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError, match=r"has neither 'mosi_data\.pkl' nor \.csd files"):
            mosi(tmp_path).prepare(Preparation(source))
    source = write_pickle(tmp_path / "raw")
    with pytest.raises(UserError, match="Leave out --splits"):
        mosi(tmp_path).prepare(Preparation(source, (source / "mosi_data.pkl",)))
    with pytest.raises(UserError, match="Keep only one of the two"):
        mosi(tmp_path).prepare(Preparation(write_sequences(source)))


def test_an_empty_part_is_an_error(tmp_path: Path) -> None:
    def empty(content: Content) -> None:
        for key, value in content["valid"].items():
            content["valid"][key] = value[:0]

    data = prepared(tmp_path, write_pickle(tmp_path / "raw", change=empty))
    with pytest.raises(UserError, match="the val split is empty"):
        data.load("standard", 1, 0, ALL)
