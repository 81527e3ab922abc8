"""RIFF files (wav, avi) and RF64: whether the file holds what its header states.

A wav that was cut decodes to its last sample without an error; only the stated size tells. But programs that write into
a pipe cannot know the size and make one up: sox 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF, others 0 or
a constant of their own. The size of the `data` chunk (of the whole file where there is none, as in avi) counts, unless

- it is 0 or at least 1 GiB, which no clip has (RF64, made for large files: 1 TiB),
- the stated size of the whole file ends the sound earlier: a file is cut only where it holds less than both say,
- it is ten minutes of sound or more and less than a hundredth of it is there: rarely is a download cut so early.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

TOLERATED = 0.1  # of a stated length: the ends of files differ a little from what their headers state
MADE_UP, MADE_UP_LONG = 2**30, 2**40  # bytes
LONG, LITTLE = 600, 100  # seconds; times what is there (ours)
UNKNOWN = 0xFFFFFFFF  # RF64 states its sizes in a chunk of its own
HEADS = (b"RIFF", b"RF64", b"BW64")


def require_stated(path: Path, size: int) -> None:
    """`Unusable` where a RIFF of `size` bytes is shorter than it states, and the statement can be believed."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in HEADS:
            return
        whole = _number(head[4:8]) + 8
        held, stated = _sound(file, size, whole) if head[8:] == b"WAVE" else (size, whole if whole < MADE_UP else 0)
    if held < stated * (1 - TOLERATED):
        raise Unusable(f"{path.name}: truncated, {held:,} bytes of {stated:,} are there. {AGAIN}")


def _sound(file: BinaryIO, size: int, whole: int) -> tuple[int, int]:
    """Bytes of sound that are there, and that are stated; 0 where that is made up. whole: stated bytes of the file."""
    long, rate = 0, 0
    for name, stated, start in _chunks(file, size):
        held = size - start
        if name == b"ds64":
            long = _number(file.read(16)[8:])
        elif name == b"fmt ":
            rate = _number(file.read(12)[8:])  # bytes per second
        elif name == b"data" and stated == UNKNOWN and long:
            return held, long if long < MADE_UP_LONG else 0
        elif name == b"data" and (stated >= MADE_UP or stated >= max(LONG * rate, LITTLE * held) > 0):
            return held, 0
        elif name == b"data":  # a stated size of the whole file that ends before the sound begins says nothing
            return held, min(stated, whole - start) if whole > start else stated
    return size, 0  # without sound: the decoder says what is wrong


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, stated size, where its content starts) of each chunk."""
    start = 12
    while start + 8 <= size:
        file.seek(start)
        head = file.read(8)
        stated = _number(head[4:])
        yield head[:4], stated, start + 8
        start += 8 + stated + stated % 2


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
