"""Something-Something: lists and brackets, the carved selection set, frames and flow of webm clips, bad folders."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.media.flow import decode as flow_in_pixels
from mcr_bench.datasets.raw.held_out import train_and_validation
from mcr_bench.datasets.raw.something_lists import read_lists, without_brackets
from mcr_bench.datasets.raw.something_raw import decode
from mcr_bench.datasets.something_something import SomethingSomething
from mcr_bench.tests.support.media.media_files import lfs_pointer, truncate, write_clip
from mcr_bench.tests.support.runs.pretended import pretend

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "something-something-v2"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no something-something-v2 folder")
TEMPLATES = ("Folding [something]", "Moving [something] up", "[Something] falling like a rock")
CLASSES = {"Moving something up": "0", "Something falling like a rock": "1", "Folding something": "2"}
LABELS = (2, 0, 1)
FOLDER = "20bn-something-something-v2"


def rows(ids: range) -> list[dict[str, Any]]:
    """One row per id, templates in turn."""
    return [{"id": str(i), "template": TEMPLATES[i % 3], "label": "text", "placeholders": ["cup"]} for i in ids]


def write_lists(source: Path, prefix: str = "", folder: str = "labels", **replaced: Any) -> Path:
    """Six training, six validation and two unlabelled clips."""
    tables = {"labels": CLASSES, "train": rows(range(1, 7)), "validation": rows(range(7, 13))}
    tables["test"] = [{"id": "13"}, {"id": "14"}]
    (source / folder).mkdir(parents=True, exist_ok=True)
    for name, table in {**tables, **replaced}.items():
        (source / folder / f"{prefix}{name}.json").write_text(json.dumps(table))
    return source


def raw(source: Path, clips: range = range(1, 15), **replaced: Any) -> Path:
    """The official layout; real clips of 12 frames."""
    write_lists(source, **replaced)
    for i in clips:
        write_clip(source / FOLDER / f"{i}.webm", 1.0, 64, 48, 12, seed=i)
    return source


def bare(source: Path, clips: range = range(1, 15), **replaced: Any) -> Path:
    """The same with empty files, for what is said before anything is decoded."""
    write_lists(source, **replaced)
    (source / FOLDER).mkdir()
    for i in clips:
        (source / FOLDER / f"{i}.webm").touch()
    return source


def write_moving(path: Path, u: int, v: int, frames: int = 12) -> Path:
    """A webm clip of 96 x 72 whose texture moves by (u, v) pixels a frame."""
    import av

    noise = np.random.default_rng(0).integers(0, 256, (200, 250)).astype(np.float32)
    grey = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    with av.open(str(path), "w", format="webm") as out:
        video: Any = out.add_stream("libvpx-vp9", rate=12, options={"cpu-used": "8"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 96, 72, "yuv420p", 4_000_000
        for n in range(frames):
            top, left = 60 - v * n, 60 - u * n
            window = np.repeat(grey[top : top + 72, left : left + 96, None], 3, axis=2)
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(window), format="rgb24")))
        out.mux(video.encode())
    return path


def small(location: Path, **dials: int) -> SomethingSomething:
    return SomethingSomething(location, **{"frames": 3, "stride": 4, "frame_size": 24, "crop": 16, **dials})


def scanned(source: Path, splits: tuple[Path, ...] = ()) -> tuple[dict[str, float], dict[str, str]]:
    result = small(source).scan(source, splits)
    return {clip.id: clip.label for clip in result.clips}, dict(result.problems)


def test_is_registered_with_a_preset_of_known_settings() -> None:
    assert dataset("something-something") is SomethingSomething
    preset = presets_of(SomethingSomething)["paper"]
    assert (preset.values["encoder.kind"], preset.pairs) == ("swin", ((109, 1), (19, 1), (337, 1)))
    dials = resolve_dataset(preset.values, SomethingSomething)
    assert dials == {"frames": 16, "stride": 8, "frame_size": 224, "crop": 224}


def test_unprepared_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="something-something is not prepared") as caught:
        SomethingSomething(tmp_path / "something-something").facts()
    for text in (SomethingSomething.card.homepage, "labels/labels.json", FOLDER):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("Folding [something]", "Folding something"),
        ("Tipping [something] with [something in it] over", "Tipping something with something in it over"),
        ("Taking [something] from [somewhere]", "Taking something from somewhere"),
    ],
)
def test_templates_lose_their_brackets(template: str, name: str) -> None:
    assert without_brackets(template) == name


@real
def test_the_genuine_lists_are_understood(tmp_path: Path) -> None:
    genuine = json.loads((REAL / "validation_first40.json").read_text())
    source = write_lists(tmp_path, validation=genuine, train=[], labels=json.loads((REAL / "labels.json").read_text()))
    result = read_lists(source, ())
    assert len(result.classes) == 174
    assert result.classes[0] == "Approaching something with your camera"
    assert len(result.parts["validation"]) == 40
    assert result.classes[result.parts["validation"]["74225"]] == "Spinning something that quickly stops spinning"


def test_clips_come_with_the_classes_of_labels_json_and_without_the_unlabelled(tmp_path: Path) -> None:
    labels, problems = scanned(bare(tmp_path))
    assert labels == {str(i): LABELS[i % 3] for i in range(1, 13)}
    assert problems == {"test.json": "its 2 clips have no labels and are left out"}


@pytest.mark.parametrize(("prefix", "folder"), [("something-something-v2-", "labels"), ("", "."), ("", "labels")])
def test_lists_are_found_under_each_of_their_names(tmp_path: Path, prefix: str, folder: str) -> None:
    write_lists(tmp_path, prefix, folder)
    result = read_lists(tmp_path, ())
    assert result.classes == ("Moving something up", "Something falling like a rock", "Folding something")
    assert (len(result.parts["train"]), len(result.parts["validation"]), result.unlabelled) == (6, 6, {"13", "14"})


def test_lists_of_another_place_win(tmp_path: Path) -> None:
    write_lists(tmp_path / "lists", folder=".", train=rows(range(1, 4)))
    labels, _ = scanned(bare(tmp_path / "raw"), (tmp_path / "lists/train.json",))
    assert sorted(labels, key=int) == ["1", "2", "3", *map(str, range(7, 13))]
    with pytest.raises(UserError, match=r"other.json' is not a list of this dataset. Allowed: labels.json, train"):
        scanned(tmp_path / "raw", (tmp_path / "lists/other.json",))


def test_two_lists_of_one_kind_are_refused(tmp_path: Path) -> None:
    write_lists(tmp_path / "lists", folder=".")
    write_lists(tmp_path / "lists", prefix="something-something-v2-", folder=".")
    both = (tmp_path / "lists/train.json", tmp_path / "lists/something-something-v2-train.json")
    with pytest.raises(UserError, match=r"/train\.json' and '.*v2-train\.json' are both train\. Give only one of them"):
        scanned(bare(tmp_path / "raw"), both)


@pytest.mark.parametrize("suffix", [".mp4", ".WEBM"])
def test_two_files_of_one_clip_are_refused(tmp_path: Path, suffix: str) -> None:
    source = bare(tmp_path)
    (source / FOLDER / f"3{suffix}").touch()
    with pytest.raises(UserError, match=r"/3\.\w+' and '.*/3\.\w+' are the same clip\. Keep one of them"):
        scanned(source)


def test_carriage_returns_byte_order_marks_and_capital_extensions_are_read(tmp_path: Path) -> None:
    source = bare(tmp_path)
    path = source / "labels/train.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows(range(1, 7)), indent=1).replace("\n", "\r\n").encode())
    (source / FOLDER / "3.webm").rename(source / FOLDER / "3.WEBM")
    (source / "labels/validation.json").rename(source / "labels/Validation.JSON")
    (source / FOLDER).rename(source / FOLDER.upper())
    assert len(scanned(source)[0]) == 12


def test_missing_and_unlisted_clips_are_findings(tmp_path: Path) -> None:
    labels, problems = scanned(bare(tmp_path, range(2, 17)))
    assert len(labels) == 11
    assert problems["1.webm"] == "is listed, but missing"
    assert problems["2 clips"] == "are not in any list, 15.webm first"


def test_ids_listed_twice_are_findings_and_never_train_and_test(tmp_path: Path) -> None:
    again = [*rows(range(1, 8)), {"id": "1", "template": TEMPLATES[1]}, {"id": "2", "template": TEMPLATES[0]}]
    source = bare(tmp_path, train=again)
    labels, problems = scanned(source)
    assert labels["2"] == LABELS[2]
    assert problems["1"] == "is listed again in train.json; its first row is used"
    assert problems["2"] == "is listed again in train.json with another label; its first row is used"
    assert problems["7"] == "is listed in train.json and validation.json; it is used for validation only"
    assert "7" not in read_lists(source, ()).parts["train"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train",
            '[{"id": "1", "template": "Eating [something]"}]',
            "'Eating .something.', which is not in labels.json",
        ),
        ("train", '[{"id": "1"', "train.json' is not a complete JSON file"),
        ("train", "\xff", "train.json' is not a complete JSON file"),
        ("train", '{"1": "Folding [something]"}', "train.json' is not a list of rows"),
        ("validation", '[{"id": "../1", "template": "Folding [something]"}]', "row 0 has the id '../1'"),
        ("validation", '[{"template": "Folding [something]"}]', "row 0 has the id ''"),
        ("labels", "[]", "labels.json' is not an object"),
        ("labels", '{"Folding something": "two"}', "class index that is not a whole number"),
        ("labels", '{"A": "0", "B": "2"}', "indices are not 0 to 1, each once"),
        ("labels", '{"A": "0", "B": "0"}', "indices are not 0 to 1, each once"),
    ],
)
def test_wrong_lists_are_errors_that_name_the_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    source = bare(tmp_path)
    (source / f"labels/{name}.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        scanned(source)


def test_missing_and_unreadable_lists_are_errors_with_the_layout(tmp_path: Path) -> None:
    source = bare(tmp_path)
    (source / "labels/train.json").unlink()
    with pytest.raises(UserError, match=r"no train.json. Expected:\nSOURCE/") as caught:
        scanned(source)
    assert "ID.webm" in str(caught.value)
    lfs_pointer(source / "labels/train.json")
    with pytest.raises(UserError, match=r"train.json' is a git-LFS pointer"):
        scanned(source)
    with pytest.raises(UserError, match=r"no labels.json and no train.json and no validation.json"):
        scanned(source / FOLDER)


def test_a_folder_without_clips_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no .webm file of the clips in its lists"):
        scanned(bare(tmp_path, range(0)))


def test_a_tenth_of_each_class_is_held_out_of_training() -> None:
    classes = np.array([0] * 1900 + [1] * 995 + [2] * 4 + [3])
    labels = {str(i): int(label) for i, label in enumerate(classes)}
    part = np.array([*train_and_validation(labels).values()])
    counts = {(c, p): int((part[classes == c] == p).sum()) for c in range(4) for p in ("train", "val")}
    assert [counts[0, p] for p in ("train", "val")] == [1710, 190]
    assert [counts[1, p] for p in ("train", "val")] == [895, 100]
    assert [counts[2, p] for p in ("train", "val")] == [3, 1]
    assert [counts[3, p] for p in ("train", "val")] == [1, 0]
    assert train_and_validation(dict(reversed(labels.items()))) == train_and_validation(labels)


def test_a_partial_copy_has_the_parts_of_the_whole_set(tmp_path: Path) -> None:
    listed = {"train": rows(range(1, 61)), "validation": rows(range(61, 64))}
    whole = pretend(small(tmp_path), small(tmp_path).scan(bare(tmp_path / "whole", range(1, 64), **listed), ()))
    some = pretend(small(tmp_path), small(tmp_path).scan(bare(tmp_path / "some", range(20, 62), **listed), ()))
    parts = [
        dict(zip(result.ids, result.part.tolist(), strict=True))
        for result in (data.parts("official", 1) for data in (whole, some))
    ]
    assert Counter(parts[0].values()) == {"train": 54, "val": 6, "test": 3}
    assert parts[1] == {clip: part for clip, part in parts[0].items() if 20 <= int(clip) < 62}
    assert Counter(parts[1].values())["val"] > 0
    assert "chosen from the whole list whichever clips are available" in some.protocols()["official"].card


def test_frames_are_a_stride_apart_and_flow_goes_to_the_next_frame(tmp_path: Path) -> None:
    """The clip ends after 12 frames: its samples are frames 0, 3, 6, 9 and 11, and nothing moves after the last."""
    source = bare(tmp_path, range(1, 2))
    write_moving(source / FOLDER / "1.webm", -3, 2)
    data = small(tmp_path, frames=5, stride=3, frame_size=48)
    recipe = data.recipe()
    made = decode(data.scan(source, ()).clips[0], recipe.settings)
    for name, field in recipe.fields.items():
        assert (made[name].shape, str(made[name].dtype)) == (field.shape, field.dtype)
    assert float(made["aspect"]) == pytest.approx(64 / 48)
    flow = flow_in_pixels(made["flow"], recipe.settings["bound"])
    np.testing.assert_allclose(np.median(flow[:4], axis=(2, 3)), [[-3, 2]] * 4, atol=0.3)
    assert (flow[4] == 0).all()
    assert np.abs(made["video"][1].astype(int) - made["video"][0]).mean() > 5


def test_clips_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    source = raw(tmp_path, range(1, 4))
    lfs_pointer(source / FOLDER / "1.webm")
    truncate(source / FOLDER / "2.webm").write_bytes(b"\x1a\x45\xdf\xa3 no more")
    write_clip(source / FOLDER / "3.webm", 1.0, 32, 8, 12)
    data = small(tmp_path)
    reasons = []
    for clip in data.scan(source, ()).clips:
        with pytest.raises(Unusable) as caught:
            decode(clip, data.recipe().settings)
        reasons.append(str(caught.value))
    assert "git-LFS" in reasons[0]
    assert reasons[1]
    assert "32 x 8 pixels are too small" in reasons[2]


def test_only_what_decides_the_bytes_decides_the_recipe(tmp_path: Path) -> None:
    digest = small(tmp_path).recipe().digest
    assert small(tmp_path, crop=8).recipe().digest == digest
    for dial in ("frames", "stride", "frame_size"):
        assert small(tmp_path, **{dial: 12}).recipe().digest != digest


def test_prepared_clips_load_as_video_and_flow_of_one_crop(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    for i in range(7, 13):
        write_moving(source / FOLDER / f"{i}.webm", -3, 2)
    data = small(tmp_path / "data/something-something")
    data.prepare(Preparation(source))
    facts = data.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"video": (3, 3, 16, 16), "flow": (3, 3, 16, 16)}
    assert facts.class_names == ("Moving something up", "Something falling like a rock", "Folding something")
    splits = data.load("official", 1, 0, ("video", "flow"))
    assert sorted(splits.test.ids, key=int) == [str(i) for i in range(7, 13)]
    assert (len(splits.train), len(splits.val)) == (3, 3)
    assert sorted(splits.val.target.tolist()) == [0, 1, 2]
    assert splits.train.groups == splits.train.ids
    batch = splits.test.batch(torch.arange(6))
    for values in batch.inputs.values.values():
        assert values.shape == (6, 3, 3, 16, 16)
        assert values.isfinite().all()
    flow = batch.inputs.values["flow"]
    assert (flow[:, :, 2] == 0).all()
    assert float(flow[:, :2, 0].median()) == pytest.approx(-3, abs=0.5)
    assert float(flow[:, :2, 1].median()) == pytest.approx(2, abs=0.5)
    card = data.protocols()["official"].card
    for text in ("validation.json tests", "selected on validation: ours", "no person ids"):
        assert text in card
