"""Opening a cache: what it gives, what is refused, and what a name of a folder follows from."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache import opened as _cache
from mcr_bench.datasets.cache.decoding import Decoder, Order
from mcr_bench.datasets.cache.journal import Draft, Entry
from mcr_bench.datasets.cache.layout import write
from mcr_bench.datasets.cache.manifest import small_files
from mcr_bench.datasets.cache.opened import cache_folder, content_of, open_cache
from mcr_bench.datasets.cache.recipe import Field, Recipe
from mcr_bench.tests.support.media.raw_clips import FIELDS, decode, raw, recipe, scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of three clips in four slots, the first a hole."""
    return make(tmp_path, raw(tmp_path / "raw", 3, bad=b"unusable x"))


def make(place: Path, source: Path) -> Path:
    """A cache made by hand from its pieces, without workers."""
    result, made = scan(source, split=b"list\r\n"), place / "cache"
    decoder, draft = Decoder(recipe(), source), Draft(made, recipe(), [clip.id for clip in result.clips])
    entries, reasons, sums = {}, {}, {}
    for slot, clip in enumerate(result.clips):
        answer = decoder(Order(slot, clip))
        sums[slot] = answer.sums
        if answer.reason:
            reasons[slot] = answer.reason
            continue
        entries[slot] = Entry(slot, answer.source, answer.content, answer.lengths)
        draft.put(clip.id, entries[slot], answer.rows)
    draft.close()
    sizes = {f"{name}.npy": (made / f"{name}.npy").stat().st_size for name in FIELDS}
    write(made, small_files("bytes", recipe(), result, source, entries, reasons, sums, sizes))
    return made


def test_arrays_are_mapped_and_cannot_be_written(folder: Path) -> None:
    cache = open_cache(folder)
    assert {name: cache.array(name).shape for name in FIELDS} == {
        "video": (4, 2, 3, 4),
        "text": (4, 5, 2),
        "aspect": (4,),
    }
    assert all(isinstance(cache.array(name), np.memmap) for name in FIELDS)
    with pytest.raises(ValueError, match="read-only"):
        cache.array("video")[0] = 1


def test_kept_clips_are_told_from_slots(folder: Path) -> None:
    cache = open_cache(folder)
    assert cache.index.ids == ["clip000", "clip001", "clip002"]
    assert cache.rows.tolist() == [1, 2, 3]
    assert (cache.rows.dtype, cache.lengths("text").dtype) == (np.int64, np.int64)
    assert cache.lengths("text").tolist() == [1, 3, 5]
    assert cache.scalars("aspect").shape == (3,)
    assert cache.lists == {"split": b"list\r\n"}


def test_equal_clips_have_equal_contents(tmp_path: Path) -> None:
    source = raw(tmp_path / "raw", 2, copy=bytes([1, 7]) * 3, longer=bytes([1, 8]))
    index = open_cache(make(tmp_path, source)).index
    contents = dict(zip(index.ids, index.contents, strict=True))
    assert contents["copy"] == contents["clip001"]
    assert len({*contents.values()}) == 3


def test_content_covers_every_byte_name_and_length() -> None:
    base = content_of({"a": b"12", "b": b"3"}, {"a": 1})
    assert base == content_of({"b": b"3", "a": b"12"}, {"a": 1})
    others = [
        ({"a": b"1", "b": b"23"}, {"a": 1}),
        ({"a": b"12", "b": b"3"}, {"a": 2}),
        ({"a": b"12", "c": b"3"}, {"a": 1}),
    ]
    assert len({base, *(content_of(rows, lengths) for rows, lengths in others)}) == 4


def test_damaged_rows_are_named(folder: Path) -> None:
    assert list(open_cache(folder).damaged()) == []
    with (folder / "video.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    assert list(open_cache(folder).damaged()) == ["clip002"]


@pytest.mark.parametrize("name", ["video.npy", "index.csv", "sources.csv", "lists/00-split", "manifest.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}' .*Run `mcr-bench data prepare` again"):
        open_cache(folder)


@pytest.mark.parametrize("name", ["video.npy", "index.csv", "sources.csv", "lists/00-split"])
def test_a_file_of_another_size_is_named(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    os.truncate(folder / name, size - 1)
    with pytest.raises(UserError, match=f"{name}' has {size - 1} bytes instead of {size}"):
        open_cache(folder)


def test_an_edited_index_is_refused(folder: Path) -> None:
    text = (folder / "index.csv").read_text()
    (folder / "index.csv").write_text(text.replace('"g1",1', '"g1",2'))
    with pytest.raises(UserError, match=r"index\.csv' differs from the file that was written"):
        open_cache(folder)


def test_an_edited_list_is_refused(folder: Path) -> None:
    (folder / "lists/00-split").write_bytes(b"tsil\r\n")
    with pytest.raises(UserError, match="00-split' differs from the file that was written"):
        open_cache(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sizes": 3}', "null"])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="is damaged, or not a cache of this version"):
        open_cache(folder)


def test_arrays_are_never_unpickled(folder: Path) -> None:
    np.save(folder / "video.npy", np.array([{}], object), allow_pickle=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sizes"]["video.npy"] = (folder / "video.npy").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="damaged"):
        open_cache(folder)


def test_a_cache_replaced_while_it_is_opened_is_opened_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = raw(tmp_path / "raw", 4)
    other = make(tmp_path / "other", source)
    real, calls = _cache.cache_of, []

    def replaced(place: Path, text: bytes) -> _cache.Cache:
        if not calls:
            shutil.rmtree(folder)
            shutil.copytree(other, folder)
        calls.append(text)
        return real(place, text)

    monkeypatch.setattr(_cache, "cache_of", replaced)
    assert len(open_cache(folder).index.ids) == 4
    assert len(calls) == 2


def test_recipes_live_side_by_side() -> None:
    base = recipe()
    changed = [
        recipe(version=2),
        recipe(more=1),
        Recipe("other", base.settings, FIELDS, decode),
        Recipe("bytes", base.settings, {**FIELDS, "aspect": Field((1,), "f4")}, decode),
        Recipe("bytes", base.settings, {**FIELDS, "text": Field((5, 2), "float32")}, decode),
    ]
    folders = {cache_folder(Path("x"), each) for each in (base, *changed)}
    assert len(folders) == 6
    assert cache_folder(Path("x"), recipe()) == Path("x") / f"bytes-{base.digest}"
