"""CREMA-D: from clips in the official layout to splits; both papers' lists, partial and damaged folders."""

import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import resolve
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cremad import Cremad, speaker_parts
from mcr_bench.datasets.raw import cremad_lists as lists
from mcr_bench.datasets.raw.cremad_raw import scan
from mcr_bench.tests.support.media.cremad_files import IDS, folds_of, rows_of, tree
from mcr_bench.tests.support.media.media_files import lfs_pointer, truncate, write_audio, write_clip

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not (REAL / "cremad").is_dir(), reason="MCR_BENCH_TEST_DATA has no cremad folder")
SMALL = {"frame_size": 32, "crop": 16}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All clips, with the lists of both papers nested as a clone of their repositories has them."""
    folder = tree(tmp_path_factory.mktemp("cremad") / "raw")
    (folder / "vavl").mkdir()
    (folder / "vavl/splits.json").write_text(folds_of("1001", "1004"))
    (folder / "ogm/CREMAD").mkdir(parents=True)
    (folder / "ogm/CREMAD/train.csv").write_bytes(b"\xef\xbb\xbf" + rows_of(IDS[::-1][:35]).encode())
    (folder / "ogm/CREMAD/test.csv").write_text(rows_of(IDS[:7]), newline="")
    (folder / "ogm/train.csv").write_text("vggsound,0,speech\n")  # the list of another set
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Cremad:
    data = Cremad(tmp_path_factory.mktemp("data") / "cremad", **SMALL)
    data.prepare(Preparation(source))
    return data


def test_is_registered() -> None:
    assert dataset("cremad") is Cremad


def test_facts(prepared: Cremad) -> None:
    facts = prepared.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"audio": (1, 257, 188), "video": (3, 3, 16, 16)}
    assert facts.class_names == ("neutral", "happy", "sad", "fear", "disgust", "anger")
    assert facts.task.classes == 6


def test_shapes_of_the_paper_are_the_default(tmp_path: Path) -> None:
    facts = Cremad(tmp_path).modalities()
    assert (facts["audio"].shape, facts["video"].shape) == ((1, 257, 188), (3, 3, 224, 224))
    assert Cremad(tmp_path, seconds=2.0, frames=5).modalities()["audio"].shape == (1, 257, 1 + 44100 // 353)


def test_labels_groups_and_order_come_from_the_names(prepared: Cremad) -> None:
    index = prepared.cache.index
    assert index.ids == sorted(IDS)
    assert index.groups == [clip[:4] for clip in sorted(IDS)]
    assert index.labels[:6].tolist() == [5, 4, 3, 1, 0, 2]  # ANG DIS FEA HAP NEU SAD
    assert len(set(index.contents)) == len(IDS)


def test_the_last_frame_of_a_short_clip_is_repeated(prepared: Cremad) -> None:
    frames = np.asarray(prepared.cache.array("video")[prepared.cache.rows[0]])
    assert frames.shape == (3, 3, 32, 32)
    assert (frames[1] == frames[2]).all()  # at 1 s and 2 s of a clip of half a second
    assert (frames[0] != frames[1]).any()
    assert prepared.cache.scalars("aspect") == pytest.approx(np.full(len(IDS), 64 / 48))


def test_sound_is_repeated_to_three_seconds(prepared: Cremad) -> None:
    result = np.asarray(prepared.cache.array("audio")[prepared.cache.rows[0]], np.float32)[0]
    bins = result[:, 10:178].argmax(axis=0)
    assert np.bincount(bins).argmax() == round(300 / (22050 / 512))  # seed 0 sounds at 300 Hz, all the time
    assert np.isfinite(result).all()


def test_preparing_twice_gives_the_same_bytes(source: Path, prepared: Cremad, tmp_path: Path) -> None:
    again = Cremad(tmp_path / "cremad", **SMALL)
    again.prepare(Preparation(source))
    assert again.fingerprint() == prepared.fingerprint()
    assert again.cache.index.contents == prepared.cache.index.contents


@pytest.mark.parametrize("protocol", ["vavl", "speaker", "ogm"])
def test_protocols_load(prepared: Cremad, protocol: str) -> None:
    splits = prepared.load(protocol, 1, 0, ("audio", "video"))
    ids = [set(part.ids) for part in (splits.train, splits.val, splits.test)]
    assert sum(map(len, ids)) == len(set.union(*ids))
    batch = splits.train.training_batch(torch.arange(4))
    assert (batch.inputs.values["audio"].shape, batch.inputs.values["video"].shape) == (
        (4, 1, 257, 188),
        (4, 3, 3, 16, 16),
    )
    assert batch.target.dtype == torch.int64


def test_vavl_is_the_default_where_its_list_is_given(prepared: Cremad) -> None:
    protocols = prepared.protocols()
    assert list(protocols) == ["vavl", "speaker", "ogm"]
    assert protocols["vavl"].folds == (1, 2)
    test = prepared.load("vavl", 2, 0, ("audio",)).test
    assert test.ids == sorted(clip for clip in IDS if clip.startswith("1004"))
    assert "LEAK" not in protocols["vavl"].card


def test_ogm_carves_validation_and_its_card_tells_the_leak(prepared: Cremad) -> None:
    splits = prepared.load("ogm", 1, 0, ("audio",))
    assert sorted(splits.test.ids) == IDS[:7]
    assert set(Counter(splits.val.target.tolist()).values()) == {1}  # of 5 or 6 of each class
    card = prepared.protocols()["ogm"].card
    assert "actors" in card
    assert "train and test" in card


def test_without_lists_speaker_is_the_only_protocol(prepared: Cremad) -> None:
    rules = prepared.rules(replace(prepared.cache, lists={}))
    assert list(rules) == ["speaker"]
    assert rules["speaker"].folds == (1, 2, 3, 4, 5)
    assert Counter(rules["speaker"].part(3).tolist()) == {"train": 30, "val": 6, "test": 6}


def test_speaker_folds_of_the_whole_set_hold_14_actors_that_no_other_fold_tests() -> None:
    groups = [str(actor) for actor in range(1001, 1092)]
    tested: list[str] = []
    for fold in range(1, 6):
        part = speaker_parts(groups, fold)
        assert Counter(part.tolist()) == {"train": 63, "val": 14, "test": 14}
        tested += [g for g, p in zip(groups, part, strict=True) if p == "test"]
    assert len(tested) == len(set(tested)) == 70


def test_speaker_parts_follow_the_actor_not_the_order() -> None:
    groups = [str(actor) for actor in range(1001, 1031)] * 2
    for fold in (1, 5):
        part = speaker_parts(groups, fold)
        assert part[:30].tolist() == part[30:].tolist() == speaker_parts(groups[::-1], fold)[:30][::-1].tolist()


def test_suffixes_in_capitals_mp3_and_single_files(tmp_path: Path) -> None:
    folder = tree(tmp_path, IDS[:2])
    (folder / f"VideoFlash/{IDS[0]}.flv").rename(folder / f"VideoFlash/{IDS[0]}.FLV")
    (folder / f"AudioWAV/{IDS[0]}.wav").unlink()
    for clip in (IDS[0], IDS[1], IDS[3]):
        write_audio(folder / f"AudioMP3/{clip}.Mp3")
    (folder / "VideoFlash/._1001_DFA_ANG_XX.flv").touch()  # what macOS leaves in archives
    write_clip(folder / "VideoFlash/1001_DFA_BAD_XX.flv", audio=False)
    scanned = scan(folder, ())
    assert [clip.id for clip in scanned.clips] == IDS[:2]
    assert [clip.files["audio"].suffix for clip in scanned.clips] == [".Mp3", ".wav"]  # .wav where there are both
    assert dict(scanned.problems) == {
        "1001_DFA_BAD_XX": "the name is not ACTOR_SENTENCE_EMOTION_LEVEL with an emotion of "
        "NEU, HAP, SAD, FEA, DIS, ANG",
        IDS[3]: f"no VideoFlash/{IDS[3]}.flv",
        "AudioMP3": "1 of its clips are also in AudioWAV, which is used",
    }


def test_a_clip_with_two_spellings_is_an_error(tmp_path: Path) -> None:
    folder = tree(tmp_path, IDS[:2])
    shutil.copy(folder / f"VideoFlash/{IDS[0]}.flv", folder / f"VideoFlash/{IDS[0]}.FLV")
    with pytest.raises(UserError, match=r"FLV' and '.*\.flv' are the same clip\. Keep one"):
        scan(folder, ())


@pytest.mark.parametrize("missing", ["VideoFlash", "AudioWAV"])
def test_another_folder_is_an_error_with_the_layout(tmp_path: Path, missing: str) -> None:
    folder = tree(tmp_path, IDS[:1])
    shutil.rmtree(folder / missing)
    with pytest.raises(UserError, match=f"has no {missing}") as caught:
        scan(folder, ())
    assert "VideoFlash/1001_DFA_ANG_XX.flv" in str(caught.value)


def test_damaged_clips_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    folder = tree(tmp_path / "raw", IDS[:6])
    truncate(folder / f"VideoFlash/{IDS[0]}.flv")
    lfs_pointer(folder / f"AudioWAV/{IDS[1]}.wav")
    data = Cremad(tmp_path / "data/cremad", **SMALL)
    report = data.prepare(Preparation(folder))
    assert data.cache.index.ids == IDS[2:6]
    assert re.search(rf"{IDS[0]}\.flv: (truncated|damaged)", report)
    assert f"{IDS[1]}.wav: a git-LFS pointer" in report


def test_verification_names_them_all(prepared: Cremad) -> None:
    more = {lists.TRAIN: rows_of([*IDS[:3], "1091_DFA_SAD_XX"]).encode(), lists.TEST: rows_of(IDS[4:5]).encode()}
    assert prepared.missing_clips(prepared.cache) == {}
    assert prepared.missing_clips(replace(prepared.cache, lists=more)) == {"train.csv": ["1091_DFA_SAD_XX"]}


def test_unprepared_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mcr-bench data prepare cremad --source DIR --data-root") as caught:
        Cremad(tmp_path / "cremad").facts()
    assert Cremad.card.homepage in str(caught.value)


def test_only_what_decides_the_bytes_makes_another_cache(tmp_path: Path) -> None:
    plain = Cremad(tmp_path).folder
    assert Cremad(tmp_path, crop=64).folder == plain
    others = [Cremad(tmp_path, frames=1), Cremad(tmp_path, frame_size=64), Cremad(tmp_path, seconds=1.0)]
    assert len({plain, *(data.folder for data in others)}) == 4


@pytest.mark.parametrize("name", presets_of(Cremad))
def test_presets_set_known_dials(name: str) -> None:
    preset = presets_of(Cremad)[name]
    assert preset.pairs == ((109, 1), (19, 2), (337, 3))
    dials = {k.removeprefix("dataset."): v for k, v in preset.values.items() if k.startswith("dataset.")}
    assert dials.items() <= resolve(Cremad, dials).items()


@real
def test_genuine_clips_have_the_shapes_of_the_paper(tmp_path: Path) -> None:
    data = Cremad(tmp_path / "cremad")
    data.prepare(Preparation(REAL / "cremad"))
    assert data.cache.index.ids == [f"1001_DFA_{e}_XX" for e in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")]
    assert data.cache.array("audio").shape[1:] == (1, 257, 188)
    assert data.cache.array("video").shape[1:] == (3, 3, 256, 256)
    assert list(data.protocols()) == ["vavl", "speaker", "ogm"]
