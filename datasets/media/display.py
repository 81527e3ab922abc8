"""Decoded frames as a player shows them: pixels made square, then turned and mirrored as the file states."""

from fractions import Fraction
from math import cos, radians, sin
from typing import TYPE_CHECKING, cast

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.media.reasons import AGAIN, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av import VideoFrame, VideoStream
    from av.sidedata.sidedata import SideData

MATRIX = "DISPLAYMATRIX"
WIDEST = 16  # a pixel that is stated to be wider or higher than this ratio comes from a damaged header


def shown_picture(frame: "VideoFrame", stream: "VideoStream", name: str) -> Array:
    """A frame as (H, W, 3) uint8 RGB in the size that the stream states, even if frames have other sizes.

    If pixels are not square, the picture is stretched, so that no row or column is lost. `Unusable` if the stated
    shape of the pixels is impossible. name: the name of the file, for the message.
    """
    width, height = shown_size(stream, name)
    picture: Array = frame.to_ndarray(format="rgb24", width=width, height=height)
    return turned(picture, _matrix(frame))


def shown_size(stream: "VideoStream", name: str) -> tuple[int, int]:
    """Width and height of the stored picture in square pixels; `Unusable` as for `shown_picture`."""
    shape: Fraction = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    if shape <= 0:
        return stream.width, stream.height
    if not 1 / WIDEST <= shape <= WIDEST:
        raise Unusable(f"{name}: damaged, its header states pixels of {shape} (width : height). {AGAIN}")
    if shape >= 1:
        return round(stream.width * shape), stream.height
    return stream.width, round(stream.height / shape)


def _matrix(frame: "VideoFrame") -> tuple[int, int, int, int]:
    """a, b, c, d of x' = a x + c y, y' = b x + d y; the identity if the frame has no such matrix."""
    try:
        every = cast("Iterable[SideData]", frame.side_data)  # PyAV's type stubs declare a dict here
    except ValueError:
        # PyAV gives none where it does not know one kind, as EXIF data in the JPEG frames of a camera. What it tells
        # then is the turn alone, so that a picture that such a file states to be mirrored is not.
        return _rotation(frame.rotation)
    for data in every:
        if data.type.name == MATRIX:
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1


def _rotation(degrees: int) -> tuple[int, int, int, int]:
    """The matrix that turns counterclockwise by these degrees, as a viewer sees it, to the nearest of 90.

    >>> _rotation(-90)  # rows from top to bottom become columns from right to left
    (0, 1, -1, 0)
    """
    angle = radians(degrees)
    across, down = round(cos(angle)), round(sin(angle))
    return across, -down, down, across


def turned(picture: Array, matrix: tuple[int, int, int, int]) -> Array:
    """A picture (H, W, 3) turned by the multiple of 90 degrees nearest to the matrix, and mirrored if it mirrors.

    matrix: a, b, c, d of x' = a x + c y, y' = b x + d y. A matrix without an inverse is ignored.

    >>> turned(np.array([[[1], [2]]]), (-1, 0, 0, -1)).tolist()
    [[[2], [1]]]
    """
    a, b, c, d = matrix
    if a * d == b * c:
        return picture
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):  # columns become rows
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
