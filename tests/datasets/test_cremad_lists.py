"""Split lists of CREMA-D: recognised, read and split; the error for a bad one names the place."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.raw import cremad_lists as lists
from mcr_bench.datasets.raw.cremad_raw import scan
from mcr_bench.tests.support.media.cremad_files import IDS, folds_of, rows_of, tree

REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not (REAL / "cremad").is_dir(), reason="MCR_BENCH_TEST_DATA has no cremad folder")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first clips, with the lists of both papers nested as a clone of their repositories has them."""
    folder = tree(tmp_path_factory.mktemp("cremad") / "raw", IDS[:12])
    (folder / "vavl").mkdir()
    (folder / "vavl/splits.json").write_text(folds_of("1001", "1004"))
    (folder / "ogm/CREMAD").mkdir(parents=True)
    (folder / "ogm/CREMAD/train.csv").write_text(rows_of(IDS[7:]))
    (folder / "ogm/CREMAD/test.csv").write_text(rows_of(IDS[:7]))
    return folder


def test_validation_of_ogm_does_not_depend_on_the_order_of_lines() -> None:
    ids = [f"{actor}_TIE_{e}_XX" for actor in range(1001, 1031) for e in lists.EMOTIONS]
    one, other = (
        lists.parts({lists.TRAIN: rows_of(order).encode(), lists.TEST: b"1091_TIE_SAD_XX,SAD"})
        for order in (ids, ids[::-1])
    )
    assert one == other
    assert Counter(clip[9:12] for clip, part in one.items() if part == "val") == dict.fromkeys(lists.EMOTIONS, 3)


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
    with pytest.raises(UserError, match=r"differ\. Give the one to use: --splits FILE"):
        scan(folder, ())


def test_clips_of_a_list_that_are_not_there_are_counted(source: Path, tmp_path: Path) -> None:
    scanned = scan(tree(tmp_path, IDS[:30]), [source / "vavl/splits.json"])
    assert len(scanned.clips) == 30
    assert scanned.problems == [("splits.json", "12 of its 42 clips are missing, 1006_DFA_ANG_XX first")]


def test_one_of_two_lists_is_said_to_be_alone(source: Path) -> None:
    folder = source.parent / "half"
    shutil.copytree(source / "VideoFlash", folder / "VideoFlash")
    shutil.copytree(source / "AudioWAV", folder / "AudioWAV")
    scanned = scan(folder, [source / "ogm/CREMAD/train.csv"])
    assert scanned.problems[-1] == ("train.csv", "protocol ogm needs train.csv and test.csv")


FIRST = {"train": ["1001_DFA_ANG_XX.wav"], "val": [], "test": []}
BAD = {
    "none there": (
        "splits.json",
        '{"1": {"train": ["1091_IEO_SAD_XX.wav"], "val": [], "test": []}}',
        "lists 1 clip, all missing",
    ),
    "empty": ("train.csv", "", "train.csv lists no clip"),
    "class": ("train.csv", "1001_DFA_ANG_XX,ANG\n\n1001_DFA_DIS_XX,DISGUST\n", "line 3: unknown class 'DISGUST'"),
    "no class": ("train.csv", "1001_DFA_ANG_XX\n", "line 1: unknown class ''"),
    "other class": ("test.csv", "1001_DFA_ANG_XX,SAD\n", "line 1: class SAD, but the name of 1001_DFA_ANG_XX says ANG"),
    "name": ("test.csv", "speech,SAD\n", "line 1: 'speech' is not ACTOR_SENTENCE"),
    "json": ("splits.json", '{"1": {\n"train": [,', "not JSON .*line 2"),
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
    "clip again": (
        "splits.json",
        json.dumps({"1": FIRST | {"val": ["1001_DFA_DIS_XX.wav", "1001_DFA_DIS_XX"]}}),
        "fold 1: 1001_DFA_DIS_XX is twice in val",
    ),
    "fold again": ("splits.json", f'{{"1": {json.dumps(FIRST)}, "1": {json.dumps(FIRST)}}}', "has '1' twice"),
    "fold in zeros": ("splits.json", json.dumps({"1": FIRST, "01": FIRST}), "expected fold numbers"),
    "deep": ("splits.json", "[" * 100_000, "not JSON"),
    "line again": (
        "train.csv",
        "1001_DFA_ANG_XX,ANG\n1001_DFA_ANG_XX.wav,ANG",
        "line 2: 1001_DFA_ANG_XX is already in line 1",
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


FOREIGN = {
    "splits.json": ('{"train": ["dog.wav"]}', "has no folds of CREMA-D; ignored"),
    "train.csv": ("path,label\nmedia/1001_DFA_ANG_XX.wav,3\n", "has no line with a clip of CREMA-D; ignored"),
    "test.csv": ("caf\udce9,1", "is not text in UTF-8; ignored"),
}


def test_foreign_files_of_the_folder_are_passed_over_with_a_reason(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(source, folder)
    (folder / "other").mkdir()
    for name, (text, _) in FOREIGN.items():
        (folder / "other" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    scanned = scan(folder, ())
    assert scanned.lists == scan(source, ()).lists
    assert {(f"other/{name}", reason) for name, (_, reason) in FOREIGN.items()} <= set(scanned.problems)


@pytest.mark.parametrize("name", [*FOREIGN, "Splits.JSON"])
def test_a_file_in_the_place_of_a_list_is_an_error_unless_another_is_named(
    name: str, source: Path, tmp_path: Path
) -> None:
    text, reason = FOREIGN[name.lower()]
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        lists.read(tmp_path, (), [])
    told = f"'{tmp_path / name}' {reason.removesuffix('; ignored')}. Fix or delete it"
    assert str(caught.value) == f"{told}, or give the list to use: --splits FILE."
    shutil.copytree(source, tmp_path / "lists")
    mine = next((tmp_path / "lists").rglob(name.lower()))
    assert lists.read(tmp_path, [mine], [])[name.lower()] == mine.read_bytes()


DAMAGED = {
    "json": ("splits.json", "{", r"splits\.json is not JSON"),
    "bytes": ("splits.json", "\udcff", r"splits\.json is not JSON"),
    "json pointer": ("splits.json", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "pointer": ("test.csv", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "folds": ("splits.json", json.dumps({"1": FIRST, "2": {"train": []}}), "expected fold numbers"),
    "head": ("train.csv", "clip,emotion\n1001_DFA_ANG_XX,ANG\n", r"line 1: .* rename it, or give .* --splits FILE"),
    "mixed": ("train.csv", "1001_DFA_ANG_XX,ANG\ndog,NEU\n", "line 2: 'dog' is not ACTOR_SENTENCE"),
    "suffix": ("test.csv", "1001_DFA_ANG_XX.wav,3\n", "line 1: unknown class '3'"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_lists_of_the_folder_are_errors(case: str, tmp_path: Path) -> None:
    name, text, message = DAMAGED[case]
    path = tmp_path / "lists" / name
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        lists.read(tmp_path, (), [])
    assert f"'{path}'" in str(caught.value)


def test_a_folder_that_may_not_be_read_is_reported(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "ogm":
            raise PermissionError(13, "Permission denied", path)
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    problems: list[tuple[str, str]] = []
    assert list(lists.read(source, (), problems)) == ["splits.json"]
    assert problems == [("ogm/", "cannot be read (Permission denied): it is not searched for lists")]


def test_a_list_that_is_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.csv").symlink_to(tmp_path / "away.csv")
    with pytest.raises(UserError, match=r"train\.csv' cannot be read \(No such file"):
        lists.read(tmp_path, (), [])


def test_a_clip_in_both_lists_is_an_error(source: Path, tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(rows_of(IDS[:1]))
    with pytest.raises(UserError, match=r"test\.csv lists 1001_DFA_ANG_XX, which is also in train\.csv"):
        scan(source, [tmp_path / "train.csv", tmp_path / "test.csv"])


def test_files_that_are_no_lists_are_errors(source: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").touch()
    with pytest.raises(
        UserError, match=r"data\.csv' does not have the name of a list. Rename it to splits\.json, train\.csv or test"
    ):
        scan(source, [tmp_path / "data.csv"])
    with pytest.raises(UserError, match=r"none\.json' is not a file"):
        scan(source, [tmp_path / "none.json"])
    for name in ("train.csv", "mytrain.csv"):
        (tmp_path / name).write_text(rows_of(IDS[:1]))
    with pytest.raises(UserError, match=r"are both train\.csv\. Give only one"):
        scan(source, [tmp_path / "train.csv", tmp_path / "mytrain.csv"])


@real
def test_genuine_lists() -> None:
    result = lists.read(REAL / "cremad", (), [])
    folds = lists.folds(result[lists.FOLDS])
    counts = [Counter(folds[k].values()) for k in (1, 2, 3)]
    assert [(c["train"], c["val"], c["test"]) for c in counts] == [(4043, 878, 899), (4024, 881, 915), (4017, 869, 934)]
    for fold in folds.values():
        actors = {p: {clip[:4] for clip, q in fold.items() if p == q} for p in ("train", "val", "test")}
        assert {p: len(a) for p, a in actors.items()} == {"train": 63, "val": 14, "test": 14}
        assert len(set.union(*actors.values())) == 91
    parts = lists.parts(result)
    assert Counter("test" if p == "test" else "train" for p in parts.values()) == {"train": 6698, "test": 744}
    assert Counter(parts.values())["val"] == pytest.approx(669.8, abs=3)
    shares = Counter(clip[9:12] for clip, p in parts.items() if p == "val")
    whole = Counter(clip[9:12] for clip, p in parts.items() if p != "test")
    assert shares == {emotion: round(n / 10) for emotion, n in whole.items()}
