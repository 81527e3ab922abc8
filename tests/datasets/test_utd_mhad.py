"""UTD-MHAD: from .mat files in the official layout to splits; partial, damaged and foreign folders."""

import dataclasses
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from scipy.io import savemat

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.catalog.presets import presets_of
from mcr_bench.bench.catalog.registry import dataset, method
from mcr_bench.bench.catalog.resolve import resolve_run
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.raw.utd_raw import recipe, resample
from mcr_bench.datasets.utd_mhad import UtdMhad

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
REAL = Path(os.environ.get("MCR_BENCH_TEST_DATA", "missing"))
real = pytest.mark.skipif(not (REAL / "utd_mhad").is_dir(), reason="MCR_BENCH_TEST_DATA has no utd_mhad folder")


def raw(folder: Path, depth: bool = False, subjects: range = range(1, 9)) -> Path:
    """Two actions of every subject, one trial."""
    draws = np.random.default_rng(0)
    for name in ("Inertial", "Skeleton", *["Depth"] * depth):
        (folder / name).mkdir(parents=True)
    for clip in (f"a{a}_s{s}_t1" for a in (1, 27) for s in subjects):
        frames = int(draws.integers(5, 9))
        savemat(folder / f"Inertial/{clip}_inertial.mat", {"d_iner": draws.normal(size=(3 * frames, 6))})
        savemat(folder / f"Skeleton/{clip}_skeleton.mat", {"d_skel": draws.normal(size=(20, 3, frames))})
        if depth:
            savemat(folder / f"Depth/{clip}_depth.mat", {"d_depth": np.full((48, 64, frames), 2000, np.uint16)})
    return folder


def prepared(tmp_path: Path, **options: bool) -> UtdMhad:
    data = UtdMhad(tmp_path / "data/utd-mhad")
    data.prepare(Preparation(raw(tmp_path / "raw", **options)))
    return data


def test_is_registered() -> None:
    assert dataset("utd-mhad") is UtdMhad


def test_unprepared_data_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mcr-bench data prepare utd-mhad --source DIR --data-root") as caught:
        UtdMhad(tmp_path / "utd-mhad").facts()
    assert UtdMhad.card.homepage in str(caught.value)
    assert "Inertial/aA_sS_tT_inertial.mat" in str(caught.value)


def test_prepare_gives_fixed_shapes_and_writes_nothing_into_the_raw_folder(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    before = sorted(source.rglob("*"))
    data = UtdMhad(tmp_path / "data/utd-mhad")
    report = data.prepare(Preparation(source))
    assert report.startswith("16 of 861 clips with inertial, skeleton")
    assert "no depth" in report
    assert sorted(source.rglob("*")) == before
    facts = data.facts()
    assert {m: f.shape for m, f in facts.modalities.items()} == {"inertial": (64, 6), "skeleton": (64, 60)}
    assert facts.task.classes == 27
    assert (facts.class_names[0], facts.class_names[26]) == ("swipe left", "squat")


def test_depth_is_a_modality_where_its_files_are_there(tmp_path: Path) -> None:
    data = prepared(tmp_path, depth=True)
    assert data.facts().modalities["depth"].shape == (16, 24, 32)
    assert np.load(data.location / "utd-mhad.npz")["x_depth"] == pytest.approx(2.0)  # metres


def test_depth_as_a_sequence_of_pixels_each_standardised_by_itself(tmp_path: Path) -> None:
    data = prepared(tmp_path, depth=True)
    whole = np.load(data.file)["x_depth"]
    ramp = np.arange(24)[:, None] + 100.0 * np.arange(32)
    np.savez(data.file, **{**np.load(data.file), "x_depth": whole * 0 + ramp})
    pixels = UtdMhad(data.location, depth_pixels=8)
    assert pixels.facts().modalities["depth"].shape == (16, 64)
    means = ramp.reshape(8, 3, 8, 4).mean((1, 3))
    assert pixels.table.values["depth"][0, 0] == pytest.approx(means.ravel())
    assert UtdMhad(data.location).facts().modalities["depth"].shape == (16, 24, 32)
    assert pixels.acting({"depth_pixels": 8}) == {"depth_pixels": 8}
    assert UtdMhad(data.location).acting({"depth_pixels": 0}) == {}  # the key of runs before there was the dial


def test_preset_windows_needs_no_depth() -> None:
    values = presets_of(UtdMhad)["windows"].values
    joint = method("joint")
    for modalities in (("inertial", "skeleton"), ("inertial", "skeleton", "depth")):
        encoders = resolve_run(values, joint, UtdMhad, modalities, chosen=()).encoders
        assert [encoders[m]["window"] for m in modalities] == [8, 8, 4][: len(modalities)]
    with pytest.raises(UserError, match=r"encoder\.depth\.window"):
        resolve_run(values, joint, UtdMhad, ("inertial", "skeleton"), chosen=("encoder.depth.window",))


def test_resampling_is_linear_and_keeps_the_ends() -> None:
    x = np.array([[0.0], [1.0], [3.0]])
    assert resample(x, 5)[:, 0].tolist() == [0, 0.5, 1, 2, 3]
    assert resample(x, 2)[:, 0].tolist() == [0, 3]


def test_skeletons_are_centred_on_the_hip_of_each_frame(tmp_path: Path) -> None:
    x = np.load(prepared(tmp_path).location / "utd-mhad.npz")["x_skeleton"].reshape(-1, 64, 20, 3)
    assert np.abs(x[:, :, 3]).max() == 0
    assert np.abs(x[:, :, 4]).max() > 0.1


def test_subjects_protocol(tmp_path: Path) -> None:
    parts = prepared(tmp_path).load("subjects", 1, 0, ("inertial", "skeleton"))
    groups = [set(p.groups or []) for p in (parts.train, parts.val, parts.test)]
    assert groups == [{"1", "3", "5"}, {"7"}, {"2", "4", "6", "8"}]
    assert parts.val.ids == ["a1_s7_t1", "a27_s7_t1"]
    assert parts.val.target.tolist() == [0, 26]


def test_loso_folds_hold_out_every_subject_once(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    folds = data.protocols()["loso"].folds
    assert folds == (1, 2, 3, 4, 5, 6, 7, 8)
    for fold in folds:
        parts = data.load("loso", fold, 0, ("inertial",))
        train, val, test = (set(p.groups or []) for p in (parts.train, parts.val, parts.test))
        assert test == {str(fold)}
        assert val == ({str(fold + 1)} if fold < 8 else {"1"})
        assert train == {str(s) for s in range(1, 9)} - test - val
        mean = parts.train.values["inertial"].mean((0, 1))
        assert mean.abs().max() < 1e-5
        assert parts.test.values["inertial"].mean((0, 1)).abs().max() > 1e-3


def test_unknown_protocols_and_folds_are_refused(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    with pytest.raises(UserError, match=r"unknown protocol 'losso'\. Did you mean loso"):
        data.load("losso", 1, 0, ("inertial",))
    with pytest.raises(UserError, match="fold 9"):
        data.load("loso", 9, 0, ("inertial",))


def test_preparing_again_does_nothing_until_the_source_changes(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    file = data.location / "utd-mhad.npz"
    stamp, mark = file.stat().st_mtime_ns, data.fingerprint()
    assert "Up to date" in data.prepare(Preparation(tmp_path / "raw"))
    assert file.stat().st_mtime_ns == stamp
    (tmp_path / "raw/Inertial/a1_s1_t1_inertial.mat").unlink()
    assert data.prepare(Preparation(tmp_path / "raw")).startswith("15 of 861")
    assert data.fingerprint() != mark
    assert len(data.load("subjects", 1, 0, ("inertial",)).train) == 5


def test_a_damaged_result_is_made_again_bit_for_bit(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    mark = data.fingerprint()
    (data.location / "utd-mhad.npz").write_bytes(b"half")
    assert data.prepare(Preparation(tmp_path / "raw")).startswith("16 of 861")
    assert data.fingerprint() == mark


def test_bad_files_are_left_out_by_name_and_reason(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    inertial = source / "Inertial"
    (inertial / "a1_s1_t1_inertial.mat").write_bytes(POINTER)
    whole = (inertial / "a1_s2_t1_inertial.mat").read_bytes()
    (inertial / "a1_s2_t1_inertial.mat").write_bytes(whole[: len(whole) // 2])
    savemat(inertial / "a1_s3_t1_inertial.mat", {"d_iner": np.full((9, 6), np.nan)})
    savemat(inertial / "a1_s4_t1_inertial.mat", {"other": np.zeros((9, 6))})
    savemat(inertial / "a1_s5_t1_inertial.mat", {"d_iner": np.zeros((9, 5))})
    savemat(inertial / "a1_s6_t1_inertial.mat", {"d_iner": np.zeros((1, 6))})
    (source / "Skeleton/a1_s7_t1_skeleton.mat").unlink()
    savemat(inertial / "a28_s1_t1_inertial.mat", {"d_iner": np.zeros((9, 6))})
    (inertial / "a1_s8_t1_inertial.mat").unlink()
    (inertial / "a1_s8_t1_inertial.mat").symlink_to(source / "nowhere")
    data = UtdMhad(tmp_path / "utd-mhad")
    (inertial / "a27_s1_t1_inertial.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(2048))
    report = data.prepare(Preparation(source))
    assert report.startswith("7 of 861")
    for line in (
        "Inertial/a1_s1_t1_inertial.mat: a git-LFS pointer",
        "Inertial/a1_s2_t1_inertial.mat: unreadable or truncated",
        "Inertial/a27_s1_t1_inertial.mat: saved in the format of MATLAB 7.3. Save it again with save(..., '-v7').",
        "Inertial/a1_s3_t1_inertial.mat: NaN or infinite",
        "Inertial/a1_s4_t1_inertial.mat: has no variable 'd_iner'",
        "Inertial/a1_s5_t1_inertial.mat: 'd_iner' is float64 (9, 5)",
        "Inertial/a1_s6_t1_inertial.mat: 'd_iner' is float64 (1, 6)",
        "a1_s7_t1: no usable skeleton file",
        "Inertial/a28_s1_t1_inertial.mat: not named",
        "Inertial/a1_s8_t1_inertial.mat: unreadable",
    ):
        assert f"left out: {line}" in report
    assert "left out: a1_s7_t1" in data.prepare(Preparation(source))


def test_letter_case_does_not_matter(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    (source / "Inertial").rename(source / "INERTIAL")
    clip = source / "Skeleton/a1_s1_t1_skeleton.mat"
    clip.rename(clip.with_name("A1_S1_T1_Skeleton.MAT"))
    assert UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source)).startswith("16 of 861")


def test_the_same_clip_twice_is_reported(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    shutil.copy(source / "Skeleton/a1_s1_t1_skeleton.mat", source / "Skeleton/a01_s1_t1_skeleton.mat")
    assert "the same clip as a01_s1_t1_skeleton.mat" in UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source))


def test_clips_without_depth_are_left_out_with_a_remedy(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", depth=True)
    (source / "Depth/a1_s1_t1_depth.mat").unlink()
    report = UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source))
    assert "left out: a1_s1_t1: no usable depth file" in report
    assert "without its folder Depth" in report


@pytest.mark.parametrize("damage", ["missing", "empty", "no skeleton", "nothing usable"])
def test_a_source_without_clips_is_refused_and_nothing_is_written(tmp_path: Path, damage: str) -> None:
    source = tmp_path / "raw"
    if damage != "missing":
        source.mkdir()
    if damage == "no skeleton":
        shutil.rmtree(raw(source) / "Skeleton")
    if damage == "nothing usable":
        for path in raw(source).rglob("*.mat"):
            path.write_bytes(POINTER)
    data = UtdMhad(tmp_path / "utd-mhad")
    with pytest.raises(UserError, match=r"Inertial/aA_sS_tT_inertial\.mat"):
        data.prepare(Preparation(source))
    assert not (data.location / "utd-mhad.npz").exists()


def test_a_split_without_clips_is_refused_when_loaded(tmp_path: Path) -> None:
    data = UtdMhad(tmp_path / "utd-mhad")
    report = data.prepare(Preparation(raw(tmp_path / "raw", subjects=range(1, 4)))).splitlines()
    assert report[-8:] == [
        "EMPTY: 7 folds cannot be run:",
        "  subjects, fold 1: no clip in validation",
        "  loso, fold 3: no clip in validation",
        *(f"  loso, fold {fold}: no clip in validation and test" for fold in range(4, 8)),
        "  loso, fold 8: no clip in test",
    ]
    (_, [halves]), (_, turns) = verification_of(data, False).protocols
    assert (halves.sizes, halves.empty) == ({"train": 4, "val": 0, "test": 2, "": 0}, ["validation"])
    assert [fold.empty for fold in turns[:3]] == [[], [], ["validation"]]
    assert len(data.load("loso", 1, 0, ("inertial",)).train) == 2
    with pytest.raises(UserError, match="protocol subjects, fold 1: the val split is empty"):
        data.load("subjects", 1, 0, ("inertial",))


def test_the_raw_folder_is_no_place_to_write(tmp_path: Path) -> None:
    source = raw(tmp_path / "utd-mhad")
    with pytest.raises(UserError, match="only read"):
        UtdMhad(source).prepare(Preparation(source))


def test_two_at_once_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw")
    data = UtdMhad(tmp_path / "utd-mhad")
    data.location.mkdir()
    with FileLock(data.location / ".lock"), pytest.raises(UserError, match="another `data prepare`"):
        data.prepare(Preparation(source))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"/file' is in the way: it is not a folder\. Move it"):
        UtdMhad(tmp_path / "file/utd-mhad").prepare(Preparation(source))
    (data.location / "manifest.json").mkdir()
    with pytest.raises(UserError, match=r"/manifest\.json' is in the way: it is not a file\. Move it"):
        data.prepare(Preparation(source, progress=lambda *_: pytest.fail("read")))


def test_an_interrupted_write_leaves_the_old_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path)
    mark = data.fingerprint()
    (tmp_path / "raw/Inertial/a1_s1_t1_inertial.mat").unlink()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(UserError, match="No space left on device"):
            data.prepare(Preparation(tmp_path / "raw"))
    assert UtdMhad(data.location).fingerprint() == mark
    assert not list(data.location.glob("*.part"))


def test_split_lists_are_refused_and_progress_is_told(tmp_path: Path) -> None:
    source, told = raw(tmp_path / "raw"), list[tuple[int, int]]()
    with pytest.raises(UserError, match=r"utd-mhad has no split lists, .*Leave out --splits"):
        UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source, [tmp_path / "list.txt"]))
    UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source, progress=lambda *at: told.append(at)))
    assert told == [(at, 16) for at in range(17)]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_arrays_without_their_manifest_are_not_verified(tmp_path: Path, content: str | None) -> None:
    data = prepared(tmp_path)
    manifest = data.location / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json' is not a manifest .*Run `mcr-bench data prepare utd-mhad"):
        verification_of(data, False)
    data.prepare(Preparation(tmp_path / "raw"))
    assert verification_of(data, True).damaged == []


def test_another_file_in_the_place_of_the_arrays_is_damage(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    file = data.location / "utd-mhad.npz"
    result = dict(np.load(file))
    result["x_inertial"][3] += 1
    np.savez(file, **result)
    assert len(verification_of(UtdMhad(data.location), True).damaged or ()) == 16


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(tmp_path / "raw")
    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(UserError, match=r"raw' cannot be read \(Permission denied\)\. Make it readable"):
        UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source))
    assert not (tmp_path / "utd-mhad").exists()


def forbidden(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_what_was_stopped_goes_on_and_decodes_the_rest(tmp_path: Path) -> None:
    source, whole, told = raw(tmp_path / "raw"), UtdMhad(tmp_path / "whole/utd-mhad"), list[int]()
    whole.prepare(Preparation(source))

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    data = UtdMhad(tmp_path / "utd-mhad")
    with pytest.raises(KeyboardInterrupt):
        data.prepare(Preparation(source, jobs=2, progress=stop))
    assert not (data.location / "utd-mhad.npz").exists()
    (journal,) = data.location.glob("mat-*.part/journal.jsonl")
    assert journal.read_text().count('["a') == 5
    data.prepare(Preparation(source, jobs=2, progress=lambda done, _: told.append(done)))
    assert told[-1] == 16
    assert data.fingerprint() == whole.fingerprint()
    assert list(data.location.glob("*.part")) == []


def test_a_set_prepared_without_a_cache_is_read_and_made_again_the_same(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    mark, manifest = data.fingerprint(), data.location / "manifest.json"
    (cache,) = data.location.glob("mat-*")
    shutil.rmtree(cache)
    stated = json.loads(manifest.read_text())
    del stated["cache"]
    manifest.write_text(json.dumps({**stated, "sources": {"Inertial/a1_s1_t1_inertial.mat": "00"}}))
    older = UtdMhad(data.location)
    assert verification_of(older, content=True).damaged == []
    assert len(older.load("subjects", 1, 0, ("inertial",)).train) == 6
    assert older.fingerprint() == mark
    assert older.prepare(Preparation(tmp_path / "raw")).startswith("16 of 861")
    assert older.fingerprint() == mark
    assert older.prepare(Preparation(tmp_path / "raw")).startswith("Up to date")


def test_a_clip_that_ends_its_worker_costs_that_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(tmp_path / "raw", subjects=range(1, 4))
    (tmp_path / "mcr_crashing.py").write_text(
        "import os\nfrom mcr_bench.datasets.raw import utd_raw\n\n\ndef decode(clip, settings):\n"
        "    return os._exit(3) if clip.id == 'a1_s2_t1' else utd_raw.decode(clip, settings)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    decode = importlib.import_module("mcr_crashing").decode
    monkeypatch.setattr("mcr_bench.datasets.utd_mhad.recipe", lambda m: dataclasses.replace(recipe(m), decode=decode))
    report = UtdMhad(tmp_path / "utd-mhad").prepare(Preparation(source))
    assert report.startswith("5 of 861")
    assert "left out: a1_s2_t1: decoding it ended the worker process, 2 times: exit code 3" in report


def test_its_workers_import_no_torch() -> None:
    code = "import sys, mcr_bench.datasets.raw.utd_raw; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@real
def test_the_real_recordings_give_the_reference_arrays(tmp_path: Path) -> None:
    data = UtdMhad(tmp_path / "utd-mhad")
    assert data.prepare(Preparation(REAL / "utd_mhad")).startswith("861 of 861 clips")
    ours, reference = np.load(data.location / "utd-mhad.npz"), np.load(REAL / "utd_mhad.npz")
    for key in ("x_inertial", "x_skeleton", "y", "split", "group", "id"):
        assert np.array_equal(ours[key], reference[key])
    parts = data.load("subjects", 1, 0, ("inertial", "skeleton"))
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [323, 108, 430]
