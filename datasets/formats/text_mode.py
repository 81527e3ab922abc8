"""Binary files that were copied or saved as if they were text: what tells, in words."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LOOKED_AT = 2**26  # bytes from the start that are counted
SAMPLE = 2**20  # bytes from the start that are decoded
FEW = 8  # signs that do not come by chance
OPENINGS = "\x80(]})c"  # how pickles begin: the protocol, a container, a name
LOST = ("€", "\ufffd")  # what \x80 becomes when it is read as Windows' text, or cannot be read
MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xef\xbb\xbf": "UTF-8"}
REMEDY = "Copy it again in binary mode (FTP: binary; git: e.g. `*.pkl binary` in .gitattributes; unzip without -a)."


def begins_as_text(content: memoryview) -> bool:
    """Whether the file is a pickle of protocol 0, which is lines of text, and its lines end in CR LF.

    Such a pickle may be read to its end without an error, and give names that end in a carriage return.
    """
    start = bytes(content[:SAMPLE])
    first = start.split(b"\n", 1)[0]
    return bool(re.fullmatch(rb"[ -~]+\r", first)) and _pairs(content) == _line_feeds(content) > 1


def copied_as_text(start: bytes) -> bool:
    """Whether a binary file that begins so was copied in text mode, LF to CR LF: no line feed stands alone."""
    pairs, feeds = start.count(b"\r\n"), start.count(b"\n")
    return feeds == pairs >= FEW


def changed_as_text(content: memoryview) -> str:
    """What was done to a file that should be a pickle and cannot be read as one; '' where nothing tells."""
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
    """That a file which cannot be read as a pickle begins and ends like one; '' where it does not."""
    if bytes(content[-1:]) != b"." or chr(content[0]) not in OPENINGS:
        return ""
    return f"its end is there, but bytes before it are missing or changed, as by copying in text mode. {REMEDY}"


def _is_encoded_again(start: bytes) -> bool:
    """Whether this is UTF-8 of more than a few signs beyond ASCII, which arrays of numbers never are."""
    text = start.decode("utf-8", errors="ignore" if len(start) == SAMPLE else "strict") if _is_utf8(start) else ""
    return text[:1] in (*OPENINGS, *LOST) and bool(text) and sum(sign > "\x7f" for sign in text) >= FEW


def _is_utf8(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 and len(start) == SAMPLE  # a sign cut off by the end of the sample
    return True


def _bytes(content: memoryview) -> Array:
    return np.frombuffer(content[:LOOKED_AT], np.uint8)


def _line_feeds(content: memoryview) -> int:
    return int(np.count_nonzero(_bytes(content) == 10))


def _pairs(content: memoryview) -> int:
    """Line feeds that follow a carriage return."""
    x = _bytes(content)
    return int(np.count_nonzero((x[1:] == 10) & (x[:-1] == 13)))
