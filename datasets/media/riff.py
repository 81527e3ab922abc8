"""RIFF files (wav, avi) and RF64: whether the file holds what its header states.

A wav that was cut decodes to its last sample without an error; only the stated size tells. But programs that write into
a pipe cannot know the size and make one up: sox 0x7FFFF000, arecord 0x80000000, ffmpeg 0xFFFFFFFF, others 0. Rule: the
size of the `data` chunk (of the whole file where there is none, as in avi) counts, unless it is 0 or at least 1 GiB,
which no clip has (RF64, made for large files: 1 TiB).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

TOLERATED = 0.1  # of a stated length: the ends of files differ a little from what their headers state
MADE_UP, MADE_UP_LONG = 2**30, 2**40  # bytes
UNKNOWN = 0xFFFFFFFF  # RF64 states its sizes in a chunk of its own
HEADS = (b"RIFF", b"RF64", b"BW64")


def require_stated(path: Path, size: int) -> None:
    """`Unusable` where a RIFF of `size` bytes is shorter than it states, and the statement can be believed."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in HEADS:
            return
        held, stated, believed = _data(file, size) if head[8:] == b"WAVE" else (size, _number(head[4:8]) + 8, MADE_UP)
    if 0 < stated < believed and held < stated * (1 - TOLERATED):
        raise Unusable(f"{path.name}: truncated, {held:,} bytes of {stated:,} are there. {AGAIN}")


def _data(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Bytes of sound that are there, bytes that are stated, and from where on that is made up."""
    long = 0
    for name, stated, start in _chunks(file, size):
        if name == b"ds64":
            long = _number(file.read(16)[8:])
        elif name == b"data" and stated == UNKNOWN and long:
            return size - start, long, MADE_UP_LONG
        elif name == b"data":
            return size - start, stated, MADE_UP
    return size, 0, MADE_UP  # without sound: the decoder says what is wrong


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
