"""Binary files that were copied or saved as if they were text: how to recognise them, and what happened, in words."""

import re

import numpy as np

from mcr_bench.bench.core.arrays import Array

LOOKED_AT = 2**26  # bytes from the start in which line ends are counted
SAMPLE = 2**20  # bytes from the start that are decoded
FEW = 8  # characters or line ends that are too many to be a coincidence
OPENINGS = "\x80(]})c"  # how pickles begin: with the protocol, a container, or a name
LOST = ("€", "\ufffd")  # what \x80 becomes when it is read as Windows text, or cannot be decoded
MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xef\xbb\xbf": "UTF-8"}
REMEDY = "Copy it again in binary mode (FTP: binary; git: e.g. `*.pkl binary` in .gitattributes; unzip without -a)."


def begins_as_text(content: memoryview) -> bool:
    """Whether a file is a pickle of protocol 0, which consists of lines of text, with lines that end in CR LF.

    Such a pickle may be read without an error, but its names then end in a carriage return.
    """
    start = bytes(content[:SAMPLE])
    first = start.split(b"\n", 1)[0]
    return bool(re.fullmatch(rb"[ -~]+\r", first)) and _pairs(content) == _line_feeds(content) > 1


def copied_as_text(start: bytes) -> bool:
    """Whether a binary file that begins with these bytes was copied in text mode (LF to CR LF).

    That is so if every line feed follows a carriage return, and there are too many for a coincidence.

    >>> copied_as_text(8 * bytes([13, 10])), copied_as_text(8 * bytes([10]))
    (True, False)
    """
    pairs, feeds = start.count(b"\r\n"), start.count(b"\n")
    return feeds == pairs >= FEW


def changed_as_text(content: memoryview) -> str:
    """What happened to a binary file that cannot be read, if its bytes show it; else ''."""
    for mark, name in MARKS.items():
        if bytes(content[: len(mark)]) == mark:
            return f"it was saved as text, in {name}. {REMEDY}"
    if _is_encoded_again(bytes(content[:SAMPLE])):
        return f"its bytes were read as text and saved again in UTF-8. {REMEDY}"
    feeds, pairs = _line_feeds(content), _pairs(content)
    if feeds and pairs == feeds:
        return f"every line feed follows a carriage return, so it was copied in text mode (LF to CR LF). {REMEDY}"
    expected = np.count_nonzero(_bytes(content) == 13) * feeds / max(len(_bytes(content)), 1)  # by chance
    if expected >= FEW and pairs * FEW <= expected:
        return f"no line feed follows a carriage return, so it was copied in text mode (CR LF to LF). {REMEDY}"
    return ""


def changed_inside(content: memoryview) -> str:
    """A sentence for a file that begins and ends like a pickle but cannot be read as one; '' for any other file."""
    if bytes(content[-1:]) != b"." or chr(content[0]) not in OPENINGS:
        return ""
    return f"it is complete at its end, but bytes are missing or changed, as by copying in text mode. {REMEDY}"


def _is_encoded_again(start: bytes) -> bool:
    """Whether this is UTF-8 with many characters beyond ASCII, which arrays of numbers never are."""
    if not _is_utf8(start):
        return False
    text = start.decode("utf-8", errors="ignore" if len(start) == SAMPLE else "strict")
    return text[:1] in (*OPENINGS, *LOST) and bool(text) and sum(character > "\x7f" for character in text) >= FEW


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and len(start) == SAMPLE  # a character cut off by the end of the sample
    return True


def _bytes(content: memoryview) -> Array:
    """(bytes,) uint8, the first ones of a file."""
    return np.frombuffer(content[:LOOKED_AT], np.uint8)


def _line_feeds(content: memoryview) -> int:
    return int(np.count_nonzero(_bytes(content) == 10))


def _pairs(content: memoryview) -> int:
    """The number of line feeds that follow a carriage return."""
    x = _bytes(content)
    return int(np.count_nonzero((x[1:] == 10) & (x[:-1] == 13)))
