"""CREMA-D: from clips in the official layout to splits; both papers' lists, partial and damaged folders."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.presets import presets_of
from mcr_bench.bench.registry import dataset
from mcr_bench.bench.settings import resolve
from mcr_bench.datasets import _cremad_lists as lists
from mcr_bench.datasets._cremad_raw import scan
from mcr_bench.datasets._recipe import Clip
from mcr_bench.datasets._rows import CachedRows
from mcr_bench.datasets.base import Modality, Preparation
from mcr_bench.datasets.cremad import Cremad, speaker_parts
from mcr_bench.datasets.media.decode import fit, read_every
from mcr_bench.tests.media_files import lfs_pointer, truncate, write_audio, write_clip

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not (REAL / "cremad").is_dir(), reason="MCR_BENCH_TEST_DATA has no cremad folder")
ACTORS = [str(actor) for actor in range(1001, 1008)]
IDS = [f"{actor}_DFA_{emotion}_XX" for actor in ACTORS for emotion in sorted(lists.EMOTIONS)]
SMALL = {"frame_size": 32, "crop": 16}


def tree(folder: Path, ids: list[str] = IDS) -> Path:
    """A folder in the official layout."""
    for seed, clip in enumerate(ids):
        write_clip(folder / f"VideoFlash/{clip}.flv", seconds=0.5, seed=seed, audio=False)
        write_audio(folder / f"AudioWAV/{clip}.wav", seconds=0.5, seed=seed)
    return folder


def folds_of(*test_actors: str) -> str:
    """The folds of a list that holds each of the actors for test once, the next one for validation; with .wav names."""
    names: dict[str, dict[str, list[str]]] = {}
    for fold, test in enumerate(test_actors, 1):
        val = ACTORS[(ACTORS.index(test) + 1) % len(ACTORS)]
        part = {test: "test", val: "val"}
        of = [(part.get(clip[:4], "train"), f"{clip}.wav") for clip in reversed(IDS)]
        names[str(fold)] = {p: [clip for q, clip in of if q == p] for p in ("train", "val", "test")}
    return json.dumps(names)


def rows_of(ids: list[str]) -> str:
    return "".join(f"{clip},{clip[9:12]}\r\n" for clip in ids)


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
    found = np.asarray(prepared.cache.array("audio")[prepared.cache.rows[0]], np.float32)[0]
    bins = found[:, 10:178].argmax(axis=0)
    assert np.bincount(bins).argmax() == round(300 / (22050 / 512))  # seed 0 sounds at 300 Hz, all the time
    assert np.isfinite(found).all()


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


def test_validation_of_ogm_does_not_depend_on_the_order_of_lines() -> None:
    ids = [f"{actor}_TIE_{e}_XX" for actor in range(1001, 1031) for e in lists.EMOTIONS]
    one, other = (
        lists.parts({lists.TRAIN: rows_of(order).encode(), lists.TEST: b"1091_TIE_SAD_XX,SAD"})
        for order in (ids, ids[::-1])
    )
    assert one == other
    assert Counter(clip[9:12] for clip, part in one.items() if part == "val") == dict.fromkeys(lists.EMOTIONS, 3)


def test_suffixes_in_capitals_mp3_and_single_files(tmp_path: Path) -> None:
    folder = tree(tmp_path, IDS[:2])
    (folder / f"VideoFlash/{IDS[0]}.flv").rename(folder / f"VideoFlash/{IDS[0]}.FLV")
    (folder / f"AudioWAV/{IDS[0]}.wav").unlink()
    for clip in (IDS[0], IDS[1], IDS[3]):
        write_audio(folder / f"AudioMP3/{clip}.Mp3")
    (folder / "VideoFlash/._1001_DFA_ANG_XX.flv").touch()  # what macOS leaves in archives
    write_clip(folder / "VideoFlash/1001_DFA_BAD_XX.flv", audio=False)
    found = scan(folder, ())
    assert [clip.id for clip in found.clips] == IDS[:2]
    assert [clip.files["audio"].suffix for clip in found.clips] == [".Mp3", ".wav"]  # .wav where there are both
    assert dict(found.problems) == {
        "1001_DFA_BAD_XX": "the name is not ACTOR_SENTENCE_EMOTION_LEVEL with an emotion of "
        "NEU, HAP, SAD, FEA, DIS, ANG",
        IDS[3]: f"no VideoFlash/{IDS[3]}.flv",
    }


def test_a_clip_with_two_spellings_is_an_error(tmp_path: Path) -> None:
    folder = tree(tmp_path, IDS[:2])
    shutil.copy(folder / f"VideoFlash/{IDS[0]}.flv", folder / f"VideoFlash/{IDS[0]}.FLV")
    with pytest.raises(UserError, match=r"FLV' and '.*\.flv' are the same clip\. Remove one"):
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
    assert f"{IDS[0]}.flv: truncated" in report
    assert f"{IDS[1]}.wav: a git-LFS pointer" in report


def test_lists_are_found_by_the_user_before_the_folder(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my_folds.JSON"
    mine.write_text(folds_of("1002"))
    assert lists.folds(scan(source, [mine]).lists[lists.FOLDS]).keys() == {1}
    assert lists.folds(scan(source, []).lists[lists.FOLDS]).keys() == {1, 2}
    assert sorted(scan(source, []).lists) == ["splits.json", "test.csv", "train.csv"]


def test_two_lists_that_differ_are_an_error(source: Path, tmp_path: Path) -> None:
    folder = tree(tmp_path, IDS[:3])
    for name in ("a", "b"):
        (folder / name).mkdir()
        shutil.copy(source / "vavl/splits.json", folder / name)
    assert lists.FOLDS in scan(folder, ()).lists
    (folder / "b/splits.json").write_text(folds_of("1003"))
    with pytest.raises(UserError, match=r"differ\. Name the one to use: --splits FILE"):
        scan(folder, ())


def test_clips_of_a_list_that_are_not_there_are_counted(source: Path, tmp_path: Path) -> None:
    found = scan(tree(tmp_path, IDS[:30]), [source / "vavl/splits.json"])
    assert len(found.clips) == 30
    assert found.problems == [("splits.json", "names 12 of 42 clips that are not there, 1006_DFA_ANG_XX first")]


def test_verification_names_them_all(prepared: Cremad) -> None:
    more = {lists.TRAIN: rows_of([*IDS[:3], "1091_DFA_SAD_XX"]).encode(), lists.TEST: rows_of(IDS[4:5]).encode()}
    assert prepared.missing_clips(prepared.cache) == {}
    assert prepared.missing_clips(replace(prepared.cache, lists=more)) == {"train.csv": ["1091_DFA_SAD_XX"]}


def test_one_of_two_lists_is_said_to_be_alone(source: Path) -> None:
    folder = source.parent / "half"
    shutil.copytree(source / "VideoFlash", folder / "VideoFlash")
    shutil.copytree(source / "AudioWAV", folder / "AudioWAV")
    found = scan(folder, [source / "ogm/CREMAD/train.csv"])
    assert found.problems == [("train.csv", "protocol ogm needs train.csv and test.csv")]


FIRST = {"train": ["1001_DFA_ANG_XX.wav"], "val": [], "test": []}
BAD = {
    "none there": ("splits.json", '{"1": {"train": ["1091_IEO_SAD_XX.wav"], "val": [], "test": []}}', "none of them"),
    "empty": ("train.csv", "", "train.csv names 0 clips"),
    "class": ("train.csv", "1001_DFA_ANG_XX,ANG\n\n1001_DFA_DIS_XX,DISGUST\n", "line 3: unknown class 'DISGUST'"),
    "no class": ("train.csv", "1001_DFA_ANG_XX\n", "line 1: unknown class ''"),
    "other class": ("test.csv", "1001_DFA_ANG_XX,SAD\n", "line 1: class SAD, but the name of 1001_DFA_ANG_XX says ANG"),
    "name": ("test.csv", "speech,SAD\n", "line 1: 'speech' is not ACTOR_SENTENCE"),
    "json": ("splits.json", '{"1": {\n"train": [,', "no JSON .line 2"),
    "shape": ("splits.json", '{"train": [], "val": [], "test": []}', "expected fold numbers"),
    "parts": ("splits.json", '{"1": {"train": [], "test": []}}', "train, val and test"),
    "entry": (
        "splits.json",
        json.dumps({"1": FIRST, "2": FIRST | {"val": ["1001_DFA_DIS_XX", "1001_DFA_MAD_XX"]}}),
        "fold 2, val, entry 2: unknown emotion 'MAD'",
    ),
    "twice": (
        "splits.json",
        json.dumps({"1": FIRST | {"test": ["1001_DFA_ANG_XX"]}}),
        "fold 1: 1001_DFA_ANG_XX is in train and in test",
    ),
    "pointer": ("train.csv", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "bytes": ("train.csv", "\udcff\udcfe", "cannot be read as text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lists_are_errors_that_say_where(source: Path, tmp_path: Path, case: str) -> None:
    name, text, message = BAD[case]
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        scan(source, [tmp_path / name])
    assert name in str(caught.value)


def test_a_clip_in_both_lists_is_an_error(source: Path, tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(rows_of(IDS[:1]))
    with pytest.raises(UserError, match=r"test\.csv names 1001_DFA_ANG_XX, which is in train\.csv too"):
        scan(source, [tmp_path / "train.csv", tmp_path / "test.csv"])


def test_files_that_are_no_lists_are_errors(source: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").touch()
    with pytest.raises(UserError, match=r"data\.csv': which list is it\? Call it splits\.json, train\.csv or test"):
        scan(source, [tmp_path / "data.csv"])
    with pytest.raises(UserError, match=r"none\.json' is no file"):
        scan(source, [tmp_path / "none.json"])
    for name in ("train.csv", "mytrain.csv"):
        (tmp_path / name).write_text(rows_of(IDS[:1]))
    with pytest.raises(UserError, match=r"are both train\.csv\. Name one"):
        scan(source, [tmp_path / "train.csv", tmp_path / "mytrain.csv"])


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


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EfficientNet of one block, with 128 features."""
    transformers = pytest.importorskip("transformers")
    one = {name: [8] for name in ("in_channels", "out_channels")}
    one |= {name: [1] for name in ("strides", "num_block_repeats", "expand_ratios")}
    config = transformers.EfficientNetConfig(
        width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, kernel_sizes=[3], depthwise_padding=[], **one
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    transformers.EfficientNetModel(config).save_pretrained(folder)
    return folder


CONFORMER = {"backbone": "conformer", "frames": 8, "frame_size": 32, "seconds": 0.75}


def test_conformer_has_waveforms_and_features_of_faces(weights: Path, tmp_path: Path) -> None:
    folder = tree(tmp_path / "raw", IDS[:6])
    write_clip(folder / f"VideoFlash/{IDS[5]}.flv", seconds=1, seed=5, audio=False)
    write_audio(folder / f"AudioWAV/{IDS[5]}.wav", seconds=1, seed=5)
    data = Cremad(tmp_path / "data/cremad", weights=str(weights), **CONFORMER)
    data.prepare(Preparation(folder))
    facts = data.facts().modalities
    assert facts == {"audio": Modality((12000, 1), True), "video": Modality((8, 128), True)}
    assert data.cache.lengths("audio").tolist() == [8000] * 5 + [12000]
    assert data.cache.lengths("video").tolist() == [5] * 5 + [8]
    audio = CachedRows(data.cache, data.views(data.cache, np.arange(6))["audio"], np.arange(6))[torch.arange(6)]
    assert audio[5].mean() == pytest.approx(0, abs=0.01)
    assert audio[5].std() == pytest.approx(1, abs=0.01)  # all clips are as loud
    assert (audio[0, 8000:] == 0).all()


def test_features_are_those_of_the_network_on_the_face(weights: Path, tmp_path: Path) -> None:
    """The network asked directly, image by image, about the upper middle of each frame."""
    from transformers import EfficientNetModel

    clip = Clip("a", 0, "", {"video": write_clip(tmp_path / "a.flv"), "audio": write_audio(tmp_path / "a.wav")})
    recipe = Cremad(tmp_path, weights=str(weights), **CONFORMER).recipe()
    found = recipe.decode(clip, recipe.settings)["video"]
    network = EfficientNetModel.from_pretrained(weights).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for n, frame in enumerate(read_every(clip.files["video"], 1, 8)):
        square = fit(frame[None, 2:31, 17:46], 32)[0].transpose(1, 2, 0)  # 0.6 of 48 high, 0.05 of 48 from the top
        image = ((torch.from_numpy(square) / 255 - mean) / std).permute(2, 0, 1)
        with torch.no_grad():
            expected = network(image[None]).pooler_output.flatten()
        assert found[n] == pytest.approx(expected.numpy(), rel=2e-3, abs=2e-3)  # float16


def test_other_weights_make_another_cache_wherever_they_lie(weights: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(weights, tmp_path / "moved")
    one, same = (Cremad(tmp_path, weights=str(w), **CONFORMER).folder for w in (weights, moved))
    assert one == same
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    assert Cremad(tmp_path, weights=str(moved), **CONFORMER).folder != one


def test_conformer_without_weights_says_what_it_needs(source: Path, weights: Path, tmp_path: Path) -> None:
    request = Preparation(source)
    assert Cremad(tmp_path, **CONFORMER).modalities()["video"].shape == (8, 1408)
    with pytest.raises(UserError, match=r"config\.json and model\.safetensors .* EfficientNet-B2"):
        Cremad(tmp_path, **CONFORMER).prepare(request)
    moved = shutil.copytree(weights, tmp_path / "moved")
    cut = Cremad(tmp_path, weights=str(moved), **CONFORMER)
    truncate(moved / "model.safetensors")
    with pytest.raises(UserError, match=r"cannot be read .*\. Copy the weights again"):
        cut.prepare(request)
    (moved / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"config\.json is of 'bert'\. Allowed: efficientnet"):
        cut.prepare(request)
    (moved / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json' is no JSON"):
        cut.prepare(request)


@real
def test_genuine_clips_have_the_shapes_of_the_paper(tmp_path: Path) -> None:
    data = Cremad(tmp_path / "cremad")
    data.prepare(Preparation(REAL / "cremad"))
    assert data.cache.index.ids == [f"1001_DFA_{e}_XX" for e in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")]
    assert data.cache.array("audio").shape[1:] == (1, 257, 188)
    assert data.cache.array("video").shape[1:] == (3, 3, 256, 256)
    assert list(data.protocols()) == ["vavl", "speaker", "ogm"]


@real
def test_genuine_lists() -> None:
    found = lists.read(REAL / "cremad", ())
    folds = lists.folds(found[lists.FOLDS])
    counts = [Counter(folds[k].values()) for k in (1, 2, 3)]
    assert [(c["train"], c["val"], c["test"]) for c in counts] == [(4043, 878, 899), (4024, 881, 915), (4017, 869, 934)]
    for fold in folds.values():
        actors = {p: {clip[:4] for clip, q in fold.items() if p == q} for p in ("train", "val", "test")}
        assert {p: len(a) for p, a in actors.items()} == {"train": 63, "val": 14, "test": 14}
        assert len(set.union(*actors.values())) == 91
    parts = lists.parts(found)
    assert Counter("test" if p == "test" else "train" for p in parts.values()) == {"train": 6698, "test": 744}
    assert Counter(parts.values())["val"] == pytest.approx(669.8, abs=3)
    shares = Counter(clip[9:12] for clip, p in parts.items() if p == "val")
    whole = Counter(clip[9:12] for clip, p in parts.items() if p != "test")
    assert shares == {emotion: round(n / 10) for emotion, n in whole.items()}
