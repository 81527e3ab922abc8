"""Pickles that were copied or saved as text, in every protocol: the cause is told, and whole ones are never accused."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.text_mode import begins_as_text, changed_as_text
from mcr_bench.tests.support.media.pickle_files import PLAIN, PROTOCOLS, read

DRAWS = np.random.default_rng(0)
BIG = {"x": DRAWS.normal(size=(400, 100)), "id": [f"v{n}" for n in range(400)], "n": 10}
SMALL = {"train": {"x": np.arange(30, dtype=np.float32), "id": ["a", "b"]}, "n": [10, 13, 266]}
HUGE = {"x": DRAWS.integers(0, 256, 3_000_000, dtype=np.uint8)}


def to_crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


def to_lf(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def utf8(content: bytes) -> bytes:
    return content.decode("latin-1").encode()


def windows(content: bytes) -> bytes:
    return content.decode("cp1252", errors="replace").encode()


def replaced(content: bytes) -> bytes:
    return content.decode("utf-8", errors="replace").encode()


def utf16(content: bytes) -> bytes:
    return content.decode("latin-1").encode("utf-16")


def marked(content: bytes) -> bytes:
    return content.decode("latin-1").encode("utf-8-sig")


@pytest.mark.parametrize("value", [BIG, SMALL], ids=["big", "small"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_line_feed_after_a_carriage_return(tmp_path: Path, value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    if b"\n" not in content:
        pytest.skip("this pickle has no line feed that could change")
    with pytest.raises(UserError, match=r"copied in text mode \(LF to CR LF\)\. Copy it again in binary mode"):
        read(tmp_path, to_crlf(content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_line_ends_that_lost_their_carriage_return(tmp_path: Path, protocol: int) -> None:
    with pytest.raises(UserError, match=r"copied in text mode \(CR LF to LF\)\. Copy it again in binary mode"):
        read(tmp_path, to_lf(pickle.dumps(HUGE, protocol)))


def test_a_small_file_that_lost_a_byte_is_told_by_its_end(tmp_path: Path) -> None:
    content = pickle.dumps({"x": np.frombuffer(b"\r\n" * 40, np.uint8)}, 4)
    with pytest.raises(UserError, match=r"it is complete at its end, but bytes .* text mode.* in binary mode"):
        read(tmp_path, to_lf(content))


@pytest.mark.parametrize("change", [utf8, windows, replaced, utf16, marked])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_that_were_read_as_text_and_saved_again(tmp_path: Path, change: object, protocol: int) -> None:
    content = pickle.dumps(BIG, protocol)
    changed = change(content)  # type: ignore[operator]
    if changed == content:
        pytest.skip("a pickle of protocol 0 without other signs than ASCII stays as it is")
    with pytest.raises(UserError, match=r"(saved again in UTF-8|saved as text, in UTF-(8|16))\. Copy it again in bin"):
        read(tmp_path, changed)


@pytest.mark.parametrize("text", ["a\r\nb\r\nc\r\n", "\r\n" * 50, "ü" * 50])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text_inside_of_a_whole_pickle_is_no_damage(tmp_path: Path, text: str, protocol: int) -> None:
    assert read(tmp_path, pickle.dumps({"x": text, "y": [text]}, protocol)) == {"x": text, "y": [text]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_whole_files_and_cut_ones_are_not_accused(tmp_path: Path, protocol: int) -> None:
    for value in (BIG, SMALL, PLAIN):
        content = pickle.dumps(value, protocol)
        assert not begins_as_text(memoryview(content))
        read(tmp_path, content)
        cut = content[: len(content) // 2].rstrip(b".")
        with pytest.raises(UserError, match=r"truncated|damaged") as caught:
            read(tmp_path, cut)
        assert "text mode" not in str(caught.value)


WRAPPED = {
    "a web page": (b"<!DOCTYPE html><html>quota exceeded</html>", "It is a web page"),
    "packed": (gzip.compress(pickle.dumps(PLAIN)), "It is an archive: unpack it"),
    "a zip file": (b"PK\x03\x04" * 20, "a zip file, not a pickle.*torch.load"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_lies_under_the_name_of_a_pickle(tmp_path: Path, name: str) -> None:
    content, says = WRAPPED[name]
    with pytest.raises(UserError, match=says):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [b"<html>\xc3\xbc\xc3\xbc</html>" * 20, b"PK\x03\x04" * 20, b"hello world"])
def test_files_of_another_kind_are_not_called_changed(content: bytes) -> None:
    assert changed_as_text(memoryview(content)) == ""
