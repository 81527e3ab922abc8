"""UCF101: from clips and lists in the official layout to folds; genuine files; damaged and foreign folders."""

import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset
from mcr_bench.bench.catalog.resolve import resolve_dataset
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.problem.overlaps import audit
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.opened import Index
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.raw import ucf_raw as _ucf_raw
from mcr_bench.datasets.raw.ucf_raw import CLASSES, decode, held_out, scan
from mcr_bench.datasets.ucf101 import Ucf101
from mcr_bench.tests.support.media.media_files import frequency, lfs_pointer, truncate, write_clip
from mcr_bench.tests.support.runs.pretended import with_index

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing")) / "ucf101"
real = pytest.mark.skipif(not REAL.is_dir(), reason="MCR_BENCH_TEST_DATA has no ucf101 folder")
SMALL = {"frame_size": 32, "crop": 24}
SETTINGS = {"version": 1, "frames": 4, "frame_size": 16}
USED = ("ApplyEyeMakeup", "HandstandPushups", "Typing")
GROUPS = range(1, 6)


def name(label: str, group: int, clip: int) -> str:
    """As in the official folder, where one class is spelled in two ways."""
    return f"{label}/v_{label.replace('Handstand', 'HandStand')}_g{group:02}_c{clip:02}.avi"


def names(groups: range, labels: tuple[str, ...] = (*USED, "YoYo")) -> list[str]:
    return [name(label, group, clip) for label in labels for group in groups for clip in (1, 2)]


def write_lists(source: Path, end: str = "\r\n") -> Path:
    """Fold 1 tests on group 5, fold 2 on groups 1 and 2; there is no fold 3."""
    folder = source / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    classes = [*CLASSES, "YoYo"]
    train = {1: names(range(1, 5)), 2: names(range(3, 6))}
    test = {1: names(range(5, 6)), 2: names(range(1, 3))}
    result = {"classInd.txt": [f"{n} {label}" for n, label in enumerate(classes, 1)]}
    for fold in (1, 2):
        result[f"trainlist0{fold}.txt"] = [f"{file} {classes.index(file.split('/')[0]) + 1}" for file in train[fold]]
        result[f"testlist0{fold}.txt"] = test[fold]
    for file, rows in result.items():
        (folder / file).write_bytes("".join(row + end for row in rows).encode())
    return source


def raw(source: Path, labels: tuple[str, ...] = USED, groups: range = GROUPS) -> Path:
    write_lists(source)
    for seed, file in enumerate(names(groups, labels)):
        write_clip(source / "UCF-101" / file, 3.4, fps=5, seed=seed)
    return source


def empty(source: Path) -> Path:
    """What `scan` sees; nothing is decoded."""
    write_lists(source)
    for file in names(GROUPS):
        (source / "UCF-101" / file).parent.mkdir(parents=True, exist_ok=True)
        (source / "UCF-101" / file).touch()
    return source


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Ucf101:
    made = Ucf101(tmp_path_factory.mktemp("data") / "ucf101", **SMALL)
    made.prepare(Preparation(raw(tmp_path_factory.mktemp("raw"))))
    return made


def test_is_registered_and_its_classes_are_alphabetical() -> None:
    assert dataset("ucf101") is Ucf101
    assert list(CLASSES) == sorted(set(CLASSES), key=str.lower)
    assert len(CLASSES) == 51


def test_prepared_clips_have_the_shapes_of_the_paper(data: Ucf101) -> None:
    facts = data.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"audio": (1, 257, 136), "video": (4, 3, 24, 24)}
    assert facts.task.classes == 51
    parts = data.load("official", 1, 0, ("audio", "video"))
    batch = parts.train.training_batch(torch.tensor([0, 3, 5])).inputs.values
    assert {m: tuple(x.shape) for m, x in batch.items()} == {"audio": (3, 1, 257, 136), "video": (3, 4, 3, 24, 24)}
    assert all(x.dtype == torch.float32 and bool(torch.isfinite(x).all()) for x in batch.values())


def test_folds_follow_the_lists_and_validation_holds_whole_groups(data: Ucf101) -> None:
    assert data.protocols()["official"].folds == (1, 2)
    for fold, tested in ((1, {"g05"}), (2, {"g01", "g02"})):
        parts = data.load("official", fold, 0, ("audio",))
        assert {g.split("_")[1] for g in parts.test.groups or []} == tested
        assert Counter(g.split("_")[0] for g in set(parts.val.groups or [])) == dict.fromkeys(USED, 1)
        assert len(parts.train) + len(parts.val) + len(parts.test) == 30
        assert audit(data.parts("official", fold)) == []
    with pytest.raises(UserError, match="fold 3: protocol official of ucf101 has folds"):
        data.load("official", 3, 0, ("audio",))


def test_sound_label_and_group_belong_to_the_same_clip(data: Ucf101) -> None:
    test = data.load("official", 1, 0, ("audio",)).test
    seeds = {file.split("/")[1].lower()[:-4]: seed for seed, file in enumerate(names(GROUPS, USED))}
    loudest = test.batch(torch.arange(len(test))).inputs.values["audio"][:, 0].mean(2).argmax(1)
    for row, clip in enumerate(test.ids):
        assert abs(int(loudest[row]) - frequency(seeds[clip.lower()]) * 512 / 16000) <= 1
        assert clip.split("_")[1] == CLASSES[int(test.target[row])]
    assert {int(label) for label in test.target} == {0, CLASSES.index("HandstandPushups"), CLASSES.index("Typing")}


def test_frames_are_one_per_second_and_sound_is_the_first_three(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    ramp = np.linspace(-1, 1, 47_000, dtype=np.float32)

    def sound(path: Path, *of: float) -> np.ndarray:
        asked.append((path.name, *of))
        return ramp

    def pictures(path: Path, times: range) -> np.ndarray:
        asked.append((path.name, *times))
        return np.zeros((len(times), 12, 24, 3), np.uint8)

    heard: list[np.ndarray] = []

    def spectrum(wave: np.ndarray) -> np.ndarray:
        heard.append(wave)
        return np.zeros((257, 136), np.float32)

    monkeypatch.setattr("mcr_bench.datasets.media.decode.read_audio", sound)
    monkeypatch.setattr("mcr_bench.datasets.media.decode.read_frames", pictures)
    monkeypatch.setattr("mcr_bench.datasets.media.spectrogram.log_magnitude", spectrum)
    rows = decode(Clip("x", 0, "x", {"video": Path("a.avi")}), SETTINGS)
    assert asked == [("a.avi", 16000, 0.0, 3), ("a.avi", 0, 1, 2, 3)]
    assert heard[0] == pytest.approx(np.concatenate([ramp, ramp[:1000]]))
    assert {field: row.shape for field, row in rows.items()} == {
        "audio": (1, 257, 136),
        "video": (4, 3, 16, 16),
        "aspect": (),
    }
    assert float(rows["aspect"]) == 2


def test_unusable_clips_are_quarantined_with_reasons(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", USED[:1], range(1, 3))
    folder = source / "UCF-101"
    write_clip(folder / name("Typing", 1, 1), 3.4, fps=5, audio=False)
    write_clip(folder / name("Typing", 1, 2), 2.6, fps=5)
    lfs_pointer(folder / name("Typing", 2, 1))
    truncate(folder / name("ApplyEyeMakeup", 1, 1))
    (folder / name("Typing", 2, 2)).write_bytes(b"")
    made = Ucf101(tmp_path / "data/ucf101", **SMALL)
    report = made.prepare(Preparation(source))
    for text in (
        "v_Typing_g01_c01.avi: no audio stream",
        "v_Typing_g01_c02.avi: ends after 2.60 s; a frame at 3 s is needed",
        "v_Typing_g02_c01.avi: a git-LFS pointer",
        "v_ApplyEyeMakeup_g01_c01.avi: ",
        "v_Typing_g02_c02.avi: the file is empty",
    ):
        assert text in report
    assert made.cache.index.ids == [f"v_ApplyEyeMakeup_g0{g}_c0{c}" for g, c in ((1, 2), (2, 1), (2, 2))]
    absent = made.missing_clips(made.cache)
    assert {file: len(ids) for file, ids in absent.items()} == {
        "trainlist01.txt": 21,
        "testlist01.txt": 6,
        "trainlist02.txt": 18,
        "testlist02.txt": 9,
    }
    assert "v_Typing_g01_c01" in absent["trainlist01.txt"]


def test_letter_case_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    plain = scan(empty(tmp_path / "a"), [])
    assert len(plain.clips) == 30  # YoYo is no class with sound
    assert plain.problems == []
    other = empty(tmp_path / "b")
    for path in (other / "ucfTrainTestlist").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"HandStand", b"Handstand"))
    clip = other / "UCF-101" / name("Typing", 1, 1)
    clip.rename(clip.with_suffix(".AVI"))
    (other / "UCF-101/HandstandPushups").rename(other / "UCF-101/HandStandPushups")
    (other / "UCF-101").rename(other / "ucf-101")
    (other / "ucfTrainTestlist").rename(other / "UcfTrainTestList")
    scanned = scan(other, [])
    assert [(c.id, c.label, c.group) for c in scanned.clips] == [(c.id, c.label, c.group) for c in plain.clips]
    assert scanned.clips[10].id == "v_HandstandPushups_g01_c01"
    assert _ucf_raw.parts(2, scanned.lists) == _ucf_raw.parts(2, plain.lists)


def test_what_does_not_belong_is_reported(tmp_path: Path) -> None:
    source = empty(tmp_path)
    folder = source / "UCF-101"
    (folder / name("Typing", 2, 2)).unlink()
    (folder / "Flying").mkdir()
    (folder / "Typing/v_Typing_g01_c01.AVI").touch()
    (folder / "Typing/v_ApplyEyeMakeup_g01_c01.avi").touch()
    (folder / "Typing/holiday.avi").touch()
    (folder / "Typing/.v_Typing_g01_c01.avi").touch()
    (folder / "Typing/notes.txt").touch()
    scanned = scan(source, [])
    assert dict(scanned.problems) == {
        "Flying": "not a class of classInd.txt; left out",
        "Typing/v_ApplyEyeMakeup_g01_c01.avi": "is not named v_Typing_gNN_cNN.avi; left out",
        "Typing/holiday.avi": "is not named v_Typing_gNN_cNN.avi; left out",
        "Typing/v_Typing_g01_c01.avi": "the same clip as v_Typing_g01_c01.AVI; left out",
        "v_Typing_g02_c02": "listed, but missing from UCF-101",
    }
    assert len(scanned.clips) == 29


def test_clips_that_a_list_repeats_are_reported(tmp_path: Path) -> None:
    source = empty(tmp_path)
    for file in ("trainlist02.txt", "testlist01.txt"):
        path = source / "ucfTrainTestlist" / file
        path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    scanned = scan(source, [])
    assert scanned.problems == [
        ("v_ApplyEyeMakeup_g05_c01", "in testlist01.txt more than once; used once"),
        ("v_ApplyEyeMakeup_g03_c01", "in trainlist02.txt more than once; used once"),
    ]
    assert len(scanned.clips) == 30


@pytest.mark.parametrize(
    ("file", "row", "text"),
    [
        ("trainlist01.txt", name("Typing", 7, 1) + " 1", "line 33: .* does not end with 48, the number of its class"),
        ("trainlist01.txt", name("Typing", 7, 1) + " one", "line 33: .* does not end with 48"),
        ("trainlist01.txt", name("Typing", 7, 1) + " 48 48", "line 33: .* does not end with 48"),
        (
            "classInd.txt",
            "1 Juggling",
            r"classInd\.txt, line 53: '1 Juggling' has the number or class of an earlier line",
        ),
        (
            "classInd.txt",
            "99 Typing",
            r"classInd\.txt, line 53: '99 Typing' has the number or class of an earlier line",
        ),
        ("trainlist01.txt", "Typin/v_Typin_g01_c01.avi 1", r"trainlist01\.txt, line 33: unknown class.*mean Typing"),
        ("trainlist02.txt", "Typing/v_YoYo_g01_c01.avi 1", r"trainlist02\.txt, line 25: .* is not CLASS/v_CLASS"),
        ("testlist01.txt", "Typing", r"testlist01\.txt, line 9: 'Typing' is not CLASS/v_CLASS_gNN_cNN\.avi"),
        ("testlist01.txt", name("Typing", 1, 1), r"trainlist01\.txt and testlist01\.txt both list clip"),
        ("classInd.txt", "Typing 95", r"classInd\.txt, line 53: 'Typing 95' is not a number and a class"),
    ],
)
def test_wrong_lines_are_refused_by_name_and_number(tmp_path: Path, file: str, row: str, text: str) -> None:
    source = empty(tmp_path)
    with (source / "ucfTrainTestlist" / file).open("a") as out:
        out.write(row + "\n")
    with pytest.raises(UserError, match=text) as caught:
        scan(source, [])
    assert "UCF101's own download" in str(caught.value)


def test_foreign_folders_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = empty(tmp_path / "raw")
    made = Ucf101(tmp_path / "data/ucf101", **SMALL)
    (source / "UCF-101").rename(source / "videos")
    with pytest.raises(UserError, match=r"no UCF-101\. Expected:\nSOURCE/"):
        made.prepare(Preparation(source))
    (source / "videos").rename(source / "UCF-101")
    for fold in (1, 2):
        (source / f"ucfTrainTestlist/testlist0{fold}.txt").unlink()
    with pytest.raises(UserError, match=r"no classInd\.txt with trainlist0K\.txt and testlist0K\.txt of a fold"):
        made.prepare(Preparation(source))
    with pytest.raises(UserError, match="no classInd"):
        made.prepare(Preparation(tmp_path / "nothing"))
    (source / "ucfTrainTestlist/classInd.txt").write_text("1 Typing\n")
    with pytest.raises(UserError, match=r"classInd\.txt has no class ApplyEyeMakeup, "):
        made.prepare(Preparation(source, [_some_list(tmp_path)]))
    assert not list(tmp_path.glob("data/ucf101/*/manifest.json"))


def _some_list(folder: Path) -> Path:
    path = folder / "testlist01.txt"
    path.write_text(name("Typing", 5, 1))
    return path


def test_validation_groups_are_a_tenth_of_each_class() -> None:
    groups = [(label, n) for label in CLASSES for n in range(1, 19)]
    held = held_out(1, groups)
    assert len(held) == 92  # of 918
    assert Counter(Counter(label for label, _ in held).values()) == {2: 41, 1: 10}
    assert held_out(1, groups[::-1]) == held
    assert held_out(2, groups) != held
    sizes = {"a": 1, "b": 2, "c": 10, "d": 40}
    few = held_out(1, [(label, n) for label, size in sizes.items() for n in range(size)])
    assert Counter(label for label, _ in few) == {"b": 1, "c": 1, "d": 4}


def test_the_choice_of_a_class_does_not_depend_on_the_others() -> None:
    ten = held_out(3, [("typing", n) for n in range(10)])
    assert len(ten) == 1
    both = held_out(3, [(label, n) for label in ("typing", "archery") for n in range(10)])
    assert ten < both


@real
def test_the_genuine_lists_have_disjoint_groups() -> None:
    files = sorted((REAL / "ucfTrainTestlist").iterdir())
    content = {path.name: path.read_bytes() for path in files}
    order = [line.split()[1] for line in content["classInd.txt"].decode().splitlines()]
    assert [label for label in order if label in CLASSES] == list(CLASSES)
    keys = sorted({key for fold in (1, 2, 3) for of in _ucf_raw.fold_lists(fold, content).values() for key in of})
    assert len(keys) == 6845
    labels = np.array([CLASSES.index(_ucf_raw.NAMES[key.label]) for key in keys])
    ids = [_ucf_raw.clip_id(key) for key in keys]
    index = Index(ids, [_ucf_raw.group_id(key) for key in keys], ids, labels)
    made = with_index(Ucf101(Path("nowhere")), index, content)
    listed = {1: (4901, 1944), 2: (4930, 1915), 3: (4945, 1900)}
    for fold, (train, test) in listed.items():
        parts = made.parts("official", fold)
        sizes = parts.sizes()
        assert (sizes["train"] + sizes["val"], sizes["test"], sizes[""]) == (train, test, 0)
        assert audit(parts) == []
        groups = defaultdict(set)
        for group, part in zip(parts.groups, parts.part, strict=True):
            groups[part].add(group)
        assert {part: len(of) for part, of in groups.items()} == {"train": 826, "val": 92, "test": 357}
        assert all(len(set(parts.labels[parts.part == part])) == 51 for part in ("train", "val", "test"))
    assert "LEAK" not in made.protocols()["official"].card


@real
def test_genuine_clips_give_the_shapes_of_the_paper(tmp_path: Path) -> None:
    made = Ucf101(tmp_path / "ucf101")
    made.prepare(Preparation(REAL))
    assert made.cache.index.ids == ["v_ApplyEyeMakeup_g01_c01"]
    audio, video = (np.asarray(made.cache.array(field)[made.cache.rows]) for field in ("audio", "video"))
    assert (audio.shape, audio.dtype) == ((1, 1, 257, 136), np.float16)
    assert (video.shape, video.dtype) == ((1, 4, 3, 256, 256), np.uint8)
    assert video.std() > 10
    assert np.isfinite(audio).all()
    silent = REAL / "UCF-101/SoccerJuggling/v_SoccerJuggling_g23_c01.avi"
    with pytest.raises(Unusable, match="no audio stream"):
        decode(Clip("x", 0, "x", {"video": silent}), SETTINGS)


def test_the_preset_of_the_paper() -> None:
    preset = presets_of(Ucf101)["paper"]
    assert (preset.name, preset.origin) == ("paper", "official-code")
    assert preset.pairs == ((109, 1), (19, 2), (337, 3))
    made = Ucf101(Path(), **resolve_dataset(preset.values, Ucf101))
    assert [m.shape for m in made.modalities().values()] == [(1, 257, 136), (4, 3, 224, 224)]
