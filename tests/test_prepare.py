"""Preparing clips: what is decoded, taken over, quarantined and refused, and what a second time does."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets import _decoding, _prepare
from mcr_bench.datasets._cache import cache_folder, open_cache
from mcr_bench.datasets._journal import Store
from mcr_bench.datasets._prepare import report_of
from mcr_bench.datasets._recipe import Clip, Scan
from mcr_bench.tests import preparing, raw_clips
from mcr_bench.tests.preparing import FOLDER, beside, clean, prepare
from mcr_bench.tests.raw_clips import content, raw, recipe, scan

here, in_tmp = preparing.here, preparing.in_tmp  # fixtures


# What lies in the cache


@pytest.mark.usefixtures("here")
def test_rows_labels_groups_and_lengths_are_those_decoded() -> None:
    told: list[tuple[int, int]] = []
    source = raw(Path("raw"), 3, bad=b"unusable x")  # 'bad' sorts first: slot 0 is a hole
    made = prepare(source, scan(source, split=b"a\r\n"), progress=lambda done, total: told.append((done, total)))
    cache = open_cache(FOLDER)
    assert (made.found, made.kept, made.decoded, made.up_to_date) == (4, 3, 3, False)
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert cache.index.ids == ["clip000", "clip001", "clip002"]
    assert cache.index.groups == ["g1", "g0", "g1"]
    assert cache.index.labels.tolist() == [1, 2, 0]
    assert cache.index.labels.dtype == np.int64
    assert cache.rows.tolist() == [1, 2, 3]
    assert cache.lists == {"split": b"a\r\n"}
    # clip k is (k, 7 k) repeated: 7 k mod 5 + 1 steps of k / 2, and the ratio k / steps
    assert cache.lengths("text").tolist() == [1, 3, 5]
    assert cache.scalars("aspect").tolist() == [0, np.float32(1 / 3), np.float32(2 / 5)]
    assert cache.array("video")[2].ravel().tolist() == list(range(1, 25))
    assert cache.array("text")[2].tolist() == [[0.5, 0.5]] * 3 + [[0, 0]] * 2
    assert all(not cache.array(name)[0].any() for name in raw_clips.FIELDS)
    assert beside() == [".lock", FOLDER.name]


@pytest.mark.usefixtures("here")
def test_scores_are_kept_exactly() -> None:
    source = raw(Path("raw"), 2)
    found = scan(source)
    found.clips[0] = Clip("clip000", -1 / 3, "g", {"raw": source / "clip000"})
    found.clips[1] = Clip("clip001", 3.0, "g", {"raw": source / "clip001"})
    prepare(source, found)
    labels = open_cache(FOLDER).index.labels
    assert (labels.dtype, labels.tolist()) == (np.float64, [-1 / 3, 3.0])


@pytest.mark.usefixtures("here")
def test_equal_input_gives_equal_bytes_wherever_it_lies() -> None:
    one = raw(Path("raw"), 4, bad=b"broken x")
    two = raw(Path("elsewhere/far"), 4, bad=b"broken x")
    other = cache_folder(Path("other"), recipe())
    prepare(one)
    prepare(two.resolve(), folder=other)
    assert content(FOLDER) == content(other)
    text = (FOLDER / "manifest.json").read_text()
    assert str(Path.cwd()) not in text
    assert "KeyError: 'bad at 0x...'" in text


@pytest.mark.usefixtures("here")
def test_the_manifest_states_recipe_counts_and_sources() -> None:
    source = raw(Path("raw"), 2, bad=b"unusable x")
    prepare(source, Scan(scan(source).clips, [("clip9", "no file")]))
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    assert manifest["clips"] == {"found": 3, "kept": 2, "quarantined": 1, "left_out": 1}
    assert manifest["quarantine"] == [["bad", "bad is truncated. Copy it again."]]
    assert manifest["problems"] == [["clip9", "no file"]]
    assert manifest["recipe"]["settings"] == {"version": 1}
    lines = (FOLDER / "sources.csv").read_text().splitlines()
    # sha256 of b"unusable x", from sha256sum
    assert lines[1] == '"bad","raw","bad",10,"f80a20dc3962095b8533b64bd22d66ac891a3a48c4f1e96b05ae059617493346"'
    assert len(lines) == 4


@pytest.mark.usefixtures("here")
def test_the_manifest_notes_what_the_rows_were_decoded_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted() -> list[str]:
        found: list[str] = json.loads((FOLDER / "manifest.json").read_text())["libraries"]
        return found

    def stop(done: int, _: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    source, before = raw(Path("raw"), 2), recipe().digest
    prepare(source)
    now = f"numpy {np.__version__}"
    assert noted() == [now]
    assert recipe().digest == before
    monkeypatch.setattr(_prepare, "versions", lambda _: "numpy 99")
    assert prepare(source).up_to_date
    assert noted() == [now]
    (source / "clip001").write_bytes(b"zz")
    prepare(source)
    assert noted() == sorted(["numpy 99", now])
    shutil.rmtree(FOLDER)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, progress=stop)
    monkeypatch.setattr(_prepare, "versions", lambda _: "numpy 100")
    prepare(source)
    assert noted() == ["numpy 100", "numpy 99"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", ["label", "group", "list", "content", "id"])
def test_the_fingerprint_follows_the_content(change: str) -> None:
    source = raw(Path("raw"), 2)
    found = scan(source, split=b"x")
    prepare(source, found)
    before = open_cache(FOLDER).fingerprint
    first = found.clips[0]
    values = {"id": first.id, "label": first.label, "group": first.group}
    if change == "list":
        found.lists["split"] = b"y"
    elif change == "content":
        (source / "clip000").write_bytes(b"zz")
    else:
        values[change] = {"label": 2, "group": "g9", "id": "another"}[change]  # type: ignore[assignment]
    found.clips[0] = Clip(**values, files=first.files)  # type: ignore[arg-type]
    prepare(source, found)
    assert open_cache(FOLDER).fingerprint != before


@pytest.mark.usefixtures("here")
def test_hostile_names_of_lists_and_ids_stay_in_the_folder() -> None:
    source = raw(Path("raw"), 1)
    found = scan(source, **{"../../up": b"1", "a/b": b"2", "..": b"3"})
    found.clips[0] = Clip('x,"\n\x1c\udce9', 0, "g\r", {"raw": source / "clip000"})
    prepare(source, found)
    cache = open_cache(FOLDER)
    assert cache.lists == {"../../up": b"1", "a/b": b"2", "..": b"3"}
    assert (cache.index.ids, cache.index.groups) == (['x,"\n\x1c\udce9'], ["g\r"])
    assert sorted(p.name for p in Path().iterdir()) == ["data", "raw"]


# Clips that cannot be used

REASONS = {
    "unusable": "it is truncated. Copy it again.",
    "broken": "KeyError: 'it at 0x...'",
    "shape": "field 'video' has shape (2, 3, 5) instead of (2, 3, 4)",
    "dtype": "field 'video' is float32 instead of uint8",
    "nan": "field 'text' has 1 values that are NaN or infinite",
    "infinite": "field 'aspect' has 1 values that are NaN or infinite",
    "long": "field 'text' has shape (6, 2) instead of (5, 2) with 1 to 5 steps",
    "empty": "field 'text' has shape (0, 2) instead of (5, 2) with 1 to 5 steps",
    "other": "TypeError: decoding gave the fields ['aspect', 'more', 'text', 'video'] instead of",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("word", REASONS)
def test_a_bad_clip_is_quarantined_with_its_reason(word: str) -> None:
    source = raw(Path("raw"), 1, it=f"{word} x".encode())
    made = prepare(source)
    [(clip, reason)] = made.quarantine
    assert (clip, made.kept) == ("it", 1)
    assert reason.startswith(REASONS[word])
    assert f"it: {reason}" in report_of(made, FOLDER)


@pytest.mark.usefixtures("here")
def test_files_that_are_none_and_a_label_that_is_no_number_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(path: Path) -> str:
        codes = {"clip003": errno.EACCES, "clip004": errno.EIO}
        if path.name in codes:
            raise OSError(codes[path.name], os.strerror(codes[path.name]), str(path))
        return read(path)

    read = _decoding.digest
    monkeypatch.setattr(_decoding, "digest", digest)
    source = raw(Path("raw"), 6)
    found = scan(source)
    for at in (0, 2):
        (source / f"clip00{at}").unlink()
    (source / "clip000").symlink_to("nowhere")
    (source / "clip002").mkdir()
    found.clips[1] = Clip("clip001", float("nan"), "g", {"raw": source / "clip001"})
    made = prepare(source, found)
    assert made.quarantine == [
        ("clip000", "clip000: is not there, or a link that leads to nothing. Copy the file itself there."),
        ("clip001", "its label is not a number"),
        ("clip002", "clip002: is a folder, not a file. Copy the file itself there, or remove it."),
        ("clip003", "clip003: may not be read. Make it readable."),
        ("clip004", "clip004: cannot be read (Input/output error). Copy it again from the source."),
    ]


@pytest.mark.usefixtures("here")
def test_if_no_clip_can_be_used_nothing_is_left_and_a_finished_cache_stays() -> None:
    source = raw(Path("raw"), 0, a=b"broken x", b=b"broken y")
    with pytest.raises(UserError, match=r"(?s)none of the 2 clips in 'raw' can be used:\n  a: KeyError.*b: KeyError"):
        prepare(source)
    assert beside() == [".lock"]
    shutil.rmtree(source)
    prepare(raw(source, 2))
    before = content(FOLDER)
    raw(source, 0, clip000=b"broken x", clip001=b"broken x")
    with pytest.raises(UserError, match="none of the 2 clips"):
        prepare(source)
    assert content(FOLDER) == before
    assert beside() == [".lock", FOLDER.name]


@pytest.mark.usefixtures("here")
def test_a_long_quarantine_is_counted_in_the_report() -> None:
    source = raw(Path("raw"), 1, **{f"bad{at:02}": b"unusable x" for at in range(25)})
    report = report_of(prepare(source), FOLDER)
    assert "1 of 26 clips" in report
    assert "25 in quarantine" in report
    assert "bad19: " in report
    assert "bad20: " not in report
    assert f"and 5 more; all of them: {FOLDER / 'manifest.json'}" in report


# What is refused before anything is decoded


@pytest.mark.usefixtures("here")
def test_ids_that_occur_twice_are_refused() -> None:
    source = raw(Path("raw"), 2)
    with pytest.raises(UserError, match=r"1 clip ids occur more than once: clip001\. Remove"):
        prepare(source, Scan(scan(source).clips + scan(source).clips[1:]))
    with pytest.raises(UserError, match=r"(?s)no clip that can be used:\n  x.wav: is a pointer"):
        prepare(source, Scan([], [("x.wav", "is a pointer")]))
    assert not Path("data").exists()


@pytest.mark.usefixtures("here")
def test_the_raw_folder_is_only_read() -> None:
    source = raw(Path("raw"), 2)
    before = content(source)
    with pytest.raises(UserError, match="lies in the raw folder 'raw', which is only read"):
        prepare(source, folder=source / "data" / "x")
    prepare(source)
    assert content(source) == before


@pytest.mark.usefixtures("here")
def test_two_at_once_are_refused() -> None:
    source = raw(Path("raw"), 1)
    FOLDER.parent.mkdir(parents=True)
    with filelock.FileLock(FOLDER.parent / ".lock"), pytest.raises(UserError, match="another `data prepare`"):
        prepare(source)


@pytest.mark.usefixtures("here")
def test_missing_room_is_found_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(Path("raw"), 2)
    usage = shutil.disk_usage(".")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(_prepare, "spread", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"0\.0 MiB free, and the cache of 2 clips needs 0\.0 MiB more. Free space"):
        prepare(source)
    assert beside() == [".lock"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("place", [FOLDER, FOLDER.with_name(f"{FOLDER.name}.part"), FOLDER.parent, Path("data")])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_in_the_way_is_found_before_decoding(place: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = raw(Path("raw"), 2)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("x") if kind == "file" else place.symlink_to("nowhere")
    monkeypatch.setattr(_prepare, "spread", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=f"'{place}' is in the way: it is no folder. Move it, or give another"):
        prepare(source)
    assert place.is_symlink() or place.read_text() == "x"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free space, or give another --data-root"),
        (errno.EROFS, "You may not write there: make it writable, or"),
        (errno.EACCES, "You may not write there: make it writable, or"),
        (errno.EISDIR, "Something else is in the way: move it, or"),
        (errno.EIO, "Check the disk, or"),
    ],
)
def test_a_disk_that_fills_up_is_an_error_with_a_remedy_and_keeps_the_work(
    code: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = raw(Path("raw"), 4)
    write, calls = Store.write, []

    def full(store: Store, slot: int, rows: Any) -> None:
        calls.append(slot)
        if len(calls) == 3:
            raise OSError(code, os.strerror(code))
        write(store, slot, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(UserError, match=re.escape(f"({os.strerror(code)}). {remedy}")):
            prepare(source)
    assert beside() == [".lock", f"{FOLDER.name}.part"]
    assert prepare(source).decoded == 2


# Again, and after changes


@pytest.mark.usefixtures("here")
def test_a_second_time_does_nothing() -> None:
    source = raw(Path("raw"), 3, bad=b"unusable x")
    prepare(source)
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*")}
    made = prepare(source)
    assert made.up_to_date
    assert made.decoded == 0
    assert report_of(made, FOLDER).startswith("Up to date, nothing to do.\n3 of 4 clips")
    assert {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*")} == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("change", "decoded"),
    [
        (lambda s: (s / "clip002").write_bytes(b"\x09\x01"), 1),
        (lambda s: (s / "clip002").write_bytes(b"unusable x"), 0),
        (lambda s: (s / "bad").write_bytes(b"\x09\x01"), 1),
        (lambda s: (s / "bad").unlink(), 0),
        (lambda s: (s / "clip000").unlink(), 0),
        (lambda s: (s / "clip003").unlink(), 0),
        (lambda s: (s / "aaa").write_bytes(b"\x09\x01"), 1),
        (lambda s: (s / "clip002").rename(s / "zzz"), 1),
    ],
    ids=["changed", "worse", "mended", "bad one gone", "first gone", "last gone", "new first", "renamed"],
)
def test_only_what_changed_is_decoded(change: Callable[[Path], object], decoded: int) -> None:
    source = raw(Path("raw"), 4, bad=b"unusable x")
    prepare(source)
    change(source)
    made = prepare(source)
    assert (made.decoded, made.up_to_date) == (decoded, False)
    assert content(FOLDER) == clean(source, scan(source))
    assert beside() == [".lock", FOLDER.name]


@pytest.mark.usefixtures("here")
def test_a_new_split_list_costs_no_decoding_and_no_copy() -> None:
    source = raw(Path("raw"), 3)
    prepare(source)
    array = (FOLDER / "video.npy").stat().st_ino
    made = prepare(source, scan(source, vavl=b"list"))
    assert (made.decoded, made.up_to_date) == (0, False)
    assert open_cache(FOLDER).lists == {"vavl": b"list"}
    assert (FOLDER / "video.npy").stat().st_ino == array
    assert content(FOLDER) == clean(source, scan(source, vavl=b"list"))


@pytest.mark.usefixtures("here")
def test_the_span_of_a_clip_belongs_to_its_source() -> None:
    source = raw(Path("raw"), 1)
    parts = [Clip(f"part{at}", 0, "g", {"raw": source / "clip000"}, (at, at + 1.0)) for at in range(3)]
    assert prepare(source, Scan(parts)).decoded == 3
    parts[1] = Clip("part1", 0, "g", {"raw": source / "clip000"}, (1.5, 2.0))
    assert prepare(source, Scan(parts)).decoded == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["video.npy", "text.npy", "index.csv", "sources.csv", "manifest.json", "lists/00-l"])
@pytest.mark.parametrize("how", ["damaged", "missing", "cut"])
def test_a_damaged_cache_is_mended(name: str, how: str) -> None:
    source = raw(Path("raw"), 3)
    prepare(source, scan(source, l=b"list"))
    before, path = content(FOLDER), FOLDER / name
    text = bytearray(path.read_bytes())
    text[-1] ^= 1
    path.unlink()
    if how != "missing":
        path.write_bytes(text if how == "damaged" else text[:-3])
    made = prepare(source, scan(source, l=b"list"))
    assert content(FOLDER) == before
    assert not made.up_to_date


@pytest.mark.usefixtures("here")
def test_a_reader_of_the_old_cache_keeps_it() -> None:
    source = raw(Path("raw"), 3)
    prepare(source, scan(source, l=b"old"))
    old = open_cache(FOLDER)
    before = old.array("video").copy()
    (source / "clip001").write_bytes(b"\x63\x63")
    prepare(source, scan(source, l=b"new"))
    assert (old.array("video") == before).all()
    assert not list(old.damaged())
    assert old.lists == {"l": b"old"}
    assert open_cache(FOLDER).array("video")[1].ravel()[0] == 0x63
