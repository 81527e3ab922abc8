"""What is odd about clips that are kept: told by prepare and verify, and kept through resuming and renewal."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcr_bench.bench.audit.verify import verification_of
from mcr_bench.bench.audit.verify_text import data_of, text_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.journal import Store
from mcr_bench.datasets.cache.prepare import report_of
from mcr_bench.datasets.cache.recipe import DECODER, Field, Recipe
from mcr_bench.datasets.cremad import Cremad
from mcr_bench.tests.datasets.media.test_media_pictures import flat, scene, write
from mcr_bench.tests.datasets.media.test_media_sound import pcm
from mcr_bench.tests.support.media import cremad_files, preparing
from mcr_bench.tests.support.media.media_files import tone
from mcr_bench.tests.support.media.preparing import FOLDER, prepare
from mcr_bench.tests.support.media.raw_clips import content, raw, scan

here, in_tmp = preparing.here, preparing.in_tmp  # fixtures
TOLD = [("b", "looks odd"), ("b", "is called b"), ("d", "looks odd"), ("d", "is called d")]


def odd(source: Path) -> Path:
    return raw(source, 0, a=b"xy", b=b"odd x", c=b"xz", d=b"odd y")


@pytest.mark.usefixtures("here")
def test_findings_are_told_and_kept_with_the_clips() -> None:
    made = prepare(odd(Path("raw")))
    assert (made.kept, made.findings) == (4, TOLD)
    assert "2 kept that you should look at:\n  b: looks odd\n  b: is called b\n  d: looks odd" in report_of(
        made, FOLDER
    )
    assert json.loads((FOLDER / "manifest.json").read_text())["findings"] == [list(one) for one in TOLD]
    again = prepare(Path("raw"))
    assert (again.decoded, again.up_to_date, again.findings) == (0, True, TOLD)


@pytest.mark.usefixtures("here")
def test_findings_of_clips_that_are_not_decoded_again_stay() -> None:
    prepare(odd(Path("raw")))
    raw(Path("raw"), 0, aa=b"odd z")
    made = prepare(Path("raw"))
    assert made.decoded == 1
    assert made.findings == [("aa", "looks odd"), ("aa", "is called aa"), *TOLD]
    (Path("raw") / "b").write_bytes(b"plain x")
    assert [clip for clip, _ in prepare(Path("raw")).findings] == ["aa", "aa", "d", "d"]


@pytest.mark.usefixtures("here")
def test_a_resumed_pass_tells_what_a_clean_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    source = odd(Path("raw"))
    prepare(source)
    clean = content(FOLDER)
    shutil.rmtree(FOLDER)
    write_row, calls = Store.write, []

    def full(store: Store, slot: int, rows: Any) -> None:
        calls.append(slot)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_row(store, slot, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(UserError, match="Free disk space"):
            prepare(source)
    assert prepare(source, scan(source)).decoded == 2
    assert content(FOLDER) == clean


def test_a_new_way_of_reading_media_makes_new_caches_of_media_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def digests() -> list[str]:
        parts = ({"x": 1}, {"a": Field((), "f4")}, len)
        media, features = Recipe("r", *parts), Recipe("r", *parts, ("h5py", "numpy"))  # type: ignore[arg-type]
        return [media.digest, features.digest]

    before = digests()
    monkeypatch.setattr("mcr_bench.datasets.cache.recipe.DECODER", DECODER + 1)
    after = digests()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_clips_of_cremad_that_look_or_sound_wrong(tmp_path: Path) -> None:
    """One is silent, one is a constant, one cancels, one is almost silent, one is black and one stands still."""
    ids = [clip for clip in cremad_files.IDS if clip[9:12] in ("ANG", "SAD")]
    source = cremad_files.tree(tmp_path / "raw", ids)
    wave, sounds = tone(0.5), source / "AudioWAV"
    pcm(sounds / f"{ids[0]}.wav", np.zeros(8000, np.float32))
    pcm(sounds / f"{ids[1]}.wav", np.full(8000, 0.1, np.float32))
    pcm(sounds / f"{ids[2]}.wav", wave, -wave)
    pcm(sounds / f"{ids[3]}.wav", (wave / 2500).astype(np.float32))
    write(source / f"VideoFlash/{ids[4]}.flv", [flat(0, 0, 0)] * 6)
    write(source / f"VideoFlash/{ids[5]}.flv", [scene()] * 6)
    data = Cremad(tmp_path / "data/cremad", frame_size=32, crop=24)
    report = data.prepare(Preparation(source))
    left_out = (
        f"{ids[0]}: {ids[0]}.wav: no sound: all of its samples are 0 (digital",
        f"{ids[1]}: {ids[1]}.wav: no so",
    )
    odd = (
        f"{ids[2]}: its channels are in antiphase and cancel when mixed to mono; the first channel is used",
        f"{ids[3]}: almost silent: -77 dB of full scale",
        f"{ids[4]}: all of its 3 frames are black",
        f"{ids[5]}: frozen: its frames do not differ",
    )
    assert all(text in report for text in (*left_out, *odd))
    result = verification_of(data, False)
    assert all(f"left out: {text}" in text_of(result) for text in left_out)
    assert all(f"look at: {text}" in text_of(result) for text in odd)
    assert [one["name"] for one in data_of(result)["findings"]] == ids[2:6]
    assert data.cache.index.ids == ids[2:]
