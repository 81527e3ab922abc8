"""RIFF files (wav, avi) and RF64: whether a file has the size that its header states.

A truncated wav decodes to its last sample without an error; only the stated size shows that something is missing. But
programs that write into a pipe do not know the size and invent one: sox 0x7FFFF000, arecord 0x80000000, ffmpeg
0xFFFFFFFF, others 0 or a constant of their own. The stated size of the `data` chunk counts, or that of the whole file
if it has no such chunk, as in avi, except in three cases:

- The size is 0 or at least 1 GiB, which no clip has (1 TiB for RF64, which is made for large files).
- The stated size of the whole file ends the sound earlier. A file is truncated only if it is shorter than both sizes.
- The size means ten minutes of sound or more, and the file has less than a hundredth of it. Downloads are rarely cut
  so early.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mcr_bench.datasets.media.reasons import AGAIN, Unusable

TOLERATED = 0.1  # share of a stated length: the ends of files differ slightly from what their headers state
INVENTED, INVENTED_LONG = 2**30, 2**40  # bytes: the stated size of a RIFF, of an RF64, that is not believed
LONG, LITTLE = 600, 100  # seconds of sound that are long; a stated size of so many times the real one (our choice)
UNKNOWN = 0xFFFFFFFF  # RF64 states its sizes in a chunk of its own
HEADS = (b"RIFF", b"RF64", b"BW64")


def require_stated(path: Path, size: int) -> None:
    """`Unusable` if a RIFF file of `size` bytes is shorter than its header states; see above for what is believed."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in HEADS:
            return
        whole = _number(head[4:8]) + 8
        held, stated = _sound(file, size, whole) if head[8:] == b"WAVE" else (size, whole if whole < INVENTED else 0)
    if held < stated * (1 - TOLERATED):
        raise Unusable(f"{path.name}: truncated, it has {held:,} bytes of {stated:,}. {AGAIN}")


def _sound(file: BinaryIO, size: int, whole: int) -> tuple[int, int]:
    """The real and the stated number of bytes of sound; the latter is 0 if it is invented.

    size: the real size of the file in bytes; whole: its stated size.
    """
    long, rate = 0, 0
    for name, stated, start in _chunks(file, size):
        held = size - start
        if name == b"ds64":
            long = _number(file.read(16)[8:])
        elif name == b"fmt ":
            rate = _number(file.read(12)[8:])  # bytes per second
        elif name == b"data" and stated == UNKNOWN and long:
            return held, long if long < INVENTED_LONG else 0
        elif name == b"data" and (stated >= INVENTED or stated >= max(LONG * rate, LITTLE * held) > 0):
            return held, 0
        elif name == b"data":  # a stated size of the whole file that ends before the sound begins is ignored
            return held, min(stated, whole - start) if whole > start else stated
    return size, 0  # without sound, the decoder reports the error


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, the stated size, and the position of the content of each chunk."""
    start = 12
    while start + 8 <= size:
        file.seek(start)
        head = file.read(8)
        stated = _number(head[4:])
        yield head[:4], stated, start + 8
        start += 8 + stated + stated % 2


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
