"""Decoded frames as a player shows them: pixels made square, then turned and mirrored as the file says."""

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.media.reasons import AGAIN, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av.sidedata.sidedata import SideData
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MATRIX = "DISPLAYMATRIX"
WIDEST = 16  # times as wide as high, or as high as wide: more is no picture but a damaged header


def shown_picture(frame: "VideoFrame", stream: "VideoStream", name: str) -> Array:
    """(H, W, 3) uint8 RGB in the size that the stream states, also where frames change theirs.

    Of pixels that are not square the longer side is stretched, so that no row or column is lost. `Unusable` where the
    stated shape of pixels is none. name: of the file, for the message.
    """
    width, height = _square(stream, name)
    picture: Array = frame.to_ndarray(format="rgb24", width=width, height=height)
    return turned(picture, _matrix(frame))


def _square(stream: "VideoStream", name: str) -> tuple[int, int]:
    """Width and height of the stored picture in square pixels."""
    shape: Fraction = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if shape <= 0:
        return stream.width, stream.height
    if not 1 / WIDEST <= shape <= WIDEST:
        raise Unusable(f"{name}: damaged, its header states pixels of {shape} (width : height). {AGAIN}")
    if shape >= 1:
        return round(stream.width * shape), stream.height
    return stream.width, round(stream.height / shape)


def _matrix(frame: "VideoFrame") -> tuple[int, int, int, int]:
    """a, b, c, d of x' = a x + c y, y' = b x + d y; no turn where the frame has no such matrix."""
    for data in cast("Iterable[SideData]", frame.side_data):  # which its stubs call a mapping alone
        if data.type.name == MATRIX:
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def turned(picture: Array, matrix: tuple[int, int, int, int]) -> Array:
    """The picture under the matrix, to the nearest turn by a multiple of 90 degrees, mirrored where it mirrors.

    A matrix without an inverse says nothing, and the picture stays.
    """
    a, b, c, d = matrix
    if a * d == b * c:
        return picture
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):  # columns become rows
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
