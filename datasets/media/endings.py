"""Where a JPEG or PNG file ends: one that is cut off is decoded by some programs, and filled with grey."""

import re

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # 00 belongs to the data, D0 to D7 only restart the decoder
END, ALONE = 0xD9, {0xD8, 0x01}  # markers without a segment


def is_cut(content: bytes) -> bool:
    r"""Whether a JPEG or PNG file lacks its end. What programs append after it, such as a film, does not matter.

    >>> is_cut(JPEG + b"\xff\xd9" + b"a film"), is_cut(JPEG + b"\xff\xda\x00\x02")
    (False, True)
    """
    if content.startswith(JPEG):
        return not _jpeg_ends(content)
    return content.startswith(PNG) and not _png_ends(content)


def _jpeg_ends(content: bytes) -> bool:
    """From marker to marker; a segment states its length, which skips the end of a thumbnail inside of it."""
    at = len(JPEG)
    while marker := MARKER.search(content, at):
        kind, at = content[marker.start() + 1], marker.end()
        if kind == END:
            return True
        if kind not in ALONE:
            at += max(int.from_bytes(content[at : at + 2], "big"), 2)
    return False


def _png_ends(content: bytes) -> bool:
    """From chunk to chunk: length, name, content and checksum."""
    at = len(PNG)
    while at + 8 <= len(content):
        if content[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return False
