"""Dense optical flow between frames, and its coding in 8 bits.

The code of a movement v is round(127 v / bound) + 128: no movement is exactly 128, a step is bound / 127 pixels, and
the code of the opposite movement is 256 - code.
"""

from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array

if TYPE_CHECKING:
    import cv2

STILL, LEVELS = 128, 127
SMALLEST = 12  # pixels: frames with a shorter side are too small for the pyramid that OpenCV searches


def dense_flow(before: Array, after: Array) -> Array:
    """The movement of each pixel from one frame to the next, (H, W, 2) float32: right and down, in pixels.

    before, after: (H, W, 3) uint8 RGB. The method is Dense Inverse Search (Kroeger et al., 2016) with OpenCV's preset
    "medium", which is accurate to a tenth of a pixel on a shifted texture. ValueError for frames with a side of less
    than 12 pixels.
    """
    flow: Array = _search().calc(_grey(before), _grey(after), None)  # type: ignore[call-overload]
    return flow


def flow_images(before: Array, after: Array, size: int, bound: float) -> Array:
    """The coded flow of each pair of frames as squares, (F, 2, size, size) uint8, averaged over areas.

    before, after: (F, H, W, 3) uint8. The values stay in pixels of these frames, whatever `size` is. bound: as in
    `encode`.
    """
    import cv2

    images = []
    for a, b in zip(before, after, strict=True):
        flow = np.zeros((*a.shape[:2], 2), np.float32) if np.array_equal(a, b) else dense_flow(a, b)
        images.append(encode(cv2.resize(flow, (size, size), interpolation=cv2.INTER_AREA).transpose(2, 0, 1), bound))
    return np.stack(images)


def encode(flow: Array, bound: float) -> Array:
    """Flow in pixels (any shape, float) -> uint8 codes 1..255; movements beyond `bound` pixels are cut to it.

    >>> encode(np.array([0.0, 20.0, -40.0]), 20.0)
    array([128, 255,   1], dtype=uint8)
    """
    scaled = np.rint(np.clip(flow / bound, -1, 1) * LEVELS) + STILL
    return scaled.astype(np.uint8)


def decode(codes: Array, bound: float) -> Array:
    """uint8 codes (any shape) -> flow in pixels, float32, accurate to half a step, bound / 254, unless it was cut.

    >>> decode(np.array([128, 255], np.uint8), 20.0)
    array([ 0., 20.], dtype=float32)
    """
    return (codes.astype(np.float32) - STILL) * np.float32(bound / LEVELS)


def _search() -> "cv2.DISOpticalFlow":
    import cv2

    cv2.setNumThreads(1)  # clips are decoded by a process per core
    return cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)


def _grey(frame: Array) -> Array:
    import cv2

    if min(frame.shape[:2]) < SMALLEST:
        raise ValueError(
            f"frames of {frame.shape[1]} x {frame.shape[0]} pixels are too small for optical flow: "
            f"{SMALLEST} pixels are needed on each side. Find a larger copy, or leave the clip out."
        )
    return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
