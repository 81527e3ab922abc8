"""Preparing clips: which are quarantined and why, what is refused before decoding, and a disk that fills up."""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import filelock
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache import decoding as _decoding
from mcr_bench.datasets.cache import prepare as _prepare
from mcr_bench.datasets.cache.journal import Store
from mcr_bench.datasets.cache.prepare import report_of
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.tests.support.media import preparing
from mcr_bench.tests.support.media.preparing import FOLDER, beside, prepare
from mcr_bench.tests.support.media.raw_clips import content, raw, scan

here, in_tmp = preparing.here, preparing.in_tmp  # fixtures


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
    "other": "TypeError: decoding returned the fields ['aspect', 'more', 'text', 'video'] instead of",
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
    scanned = scan(source)
    for at in (0, 2):
        (source / f"clip00{at}").unlink()
    (source / "clip000").symlink_to("nowhere")
    (source / "clip002").mkdir()
    scanned.clips[1] = Clip("clip001", float("nan"), "g", {"raw": source / "clip001"})
    made = prepare(source, scanned)
    assert made.quarantine == [
        ("clip000", "clip000: is missing, or a link to a missing file. Copy the file itself there."),
        ("clip001", "its label is not a number"),
        ("clip002", "clip002: is a folder, not a file. Copy the file itself there, or delete the folder."),
        ("clip003", "clip003: cannot be read: permission denied. Make it readable."),
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
    with pytest.raises(UserError, match="is inside the raw folder 'raw', which is only read"):
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
    with pytest.raises(
        UserError, match=r"0\.0 MiB free, but the cache of 2 clips needs 0\.0 MiB more. Free disk space"
    ):
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
    with pytest.raises(UserError, match=f"'{place}' is in the way: it is not a folder. Move it, or give another"):
        prepare(source)
    assert place.is_symlink() or place.read_text() == "x"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free disk space, or give another --data-root"),
        (errno.EROFS, "Permission to write is missing: make it writable, or"),
        (errno.EACCES, "Permission to write is missing: make it writable, or"),
        (errno.EISDIR, "Another file or folder is in the way: move it, or"),
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


@pytest.mark.parametrize("label", [[0, 1], (0.5, -1.5), None])
def test_a_clip_with_several_labels_is_refused_before_decoding(label: Any, tmp_path: Path) -> None:
    clips = [Clip("good", 1, "anna", {}), Clip("it", label, "anna", {})]
    told = re.escape(f"the label of clip 'it' is {label!r}. A clip has one number") + ".*available for array files"
    with pytest.raises(UserError, match=told):
        prepare(tmp_path, Scan(clips))
