"""Preparing clips: what lies in the cache, and what a second time does and takes over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.datasets.cache import prepare as _prepare
from mcr_bench.datasets.cache.opened import cache_folder, open_cache
from mcr_bench.datasets.cache.prepare import report_of
from mcr_bench.datasets.cache.recipe import Clip, Scan
from mcr_bench.tests.support.media import preparing, raw_clips
from mcr_bench.tests.support.media.preparing import FOLDER, beside, clean, prepare
from mcr_bench.tests.support.media.raw_clips import content, raw, recipe, scan

here, in_tmp = preparing.here, preparing.in_tmp  # fixtures


# What lies in the cache


@pytest.mark.usefixtures("here")
def test_rows_labels_groups_and_lengths_are_those_decoded() -> None:
    told: list[tuple[int, int]] = []
    source = raw(Path("raw"), 3, bad=b"unusable x")  # 'bad' sorts first: slot 0 is a hole
    made = prepare(source, scan(source, split=b"a\r\n"), progress=lambda done, total: told.append((done, total)))
    cache = open_cache(FOLDER)
    assert (made.clips, made.kept, made.decoded, made.up_to_date) == (4, 3, 3, False)
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
    scanned = scan(source)
    scanned.clips[0] = Clip("clip000", -1 / 3, "g", {"raw": source / "clip000"})
    scanned.clips[1] = Clip("clip001", 3.0, "g", {"raw": source / "clip001"})
    prepare(source, scanned)
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
        result: list[str] = json.loads((FOLDER / "manifest.json").read_text())["libraries"]
        return result

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
    scanned = scan(source, split=b"x")
    prepare(source, scanned)
    before = open_cache(FOLDER).fingerprint
    first = scanned.clips[0]
    values = {"id": first.id, "label": first.label, "group": first.group}
    if change == "list":
        scanned.lists["split"] = b"y"
    elif change == "content":
        (source / "clip000").write_bytes(b"zz")
    else:
        values[change] = {"label": 2, "group": "g9", "id": "another"}[change]  # type: ignore[assignment]
    scanned.clips[0] = Clip(**values, files=first.files)  # type: ignore[arg-type]
    prepare(source, scanned)
    assert open_cache(FOLDER).fingerprint != before


@pytest.mark.usefixtures("here")
def test_hostile_names_of_lists_and_ids_stay_in_the_folder() -> None:
    source = raw(Path("raw"), 1)
    scanned = scan(source, **{"../../up": b"1", "a/b": b"2", "..": b"3"})
    scanned.clips[0] = Clip('x,"\n\x1c\udce9', 0, "g\r", {"raw": source / "clip000"})
    prepare(source, scanned)
    cache = open_cache(FOLDER)
    assert cache.lists == {"../../up": b"1", "a/b": b"2", "..": b"3"}
    assert (cache.index.ids, cache.index.groups) == (['x,"\n\x1c\udce9'], ["g\r"])
    assert sorted(p.name for p in Path().iterdir()) == ["data", "raw"]


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
