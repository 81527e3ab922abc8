"""Dense optical flow between frames, and its coding in 8 bits.

A code is round(127 v / bound) + 128: still is exactly 128, a step is bound / 127, and the mirrored flow is 256 - code.
"""

from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array

if TYPE_CHECKING:
    import cv2

STILL, LEVELS = 128, 127
SMALLEST = 12  # pixels of the shorter side, below which OpenCV has no pyramid to search


def dense_flow(before: Array, after: Array) -> Array:
    """(H, W, 3) uint8 RGB, twice -> (H, W, 2) float32: where each pixel of `before` went, (right, down) in pixels.

    Dense Inverse Search (Kroeger et al., 2016), OpenCV's preset "medium": a tenth of a pixel on a shifted texture.
    ValueError for frames with a side of less than 12 pixels.
    """
    flow: Array = _search().calc(_grey(before), _grey(after), None)  # type: ignore[call-overload]
    return flow


def flow_images(before: Array, after: Array, size: int, bound: float) -> Array:
    """(F, H, W, 3) uint8, twice -> (F, 2, size, size) uint8: the coded flow of each pair, averaged over areas.

    The values stay in pixels of the given frames, whatever `size` is.
    """
    import cv2

    images = []
    for a, b in zip(before, after, strict=True):
        flow = np.zeros((*a.shape[:2], 2), np.float32) if np.array_equal(a, b) else dense_flow(a, b)
        images.append(encode(cv2.resize(flow, (size, size), interpolation=cv2.INTER_AREA).transpose(2, 0, 1), bound))
    return np.stack(images)


def encode(flow: Array, bound: float) -> Array:
    """Flow in pixels -> uint8 codes 1..255; longer movements than `bound` are cut to it."""
    scaled = np.rint(np.clip(flow / bound, -1, 1) * LEVELS) + STILL
    return scaled.astype(np.uint8)


def decode(codes: Array, bound: float) -> Array:
    """uint8 codes -> float32 flow in pixels, off by at most half a step, bound / 254, where nothing was cut."""
    return (codes.astype(np.float32) - STILL) * np.float32(bound / LEVELS)


def _search() -> "cv2.DISOpticalFlow":
    import cv2

    cv2.setNumThreads(1)  # clips are decoded by a process per core
    return cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)


def _grey(frame: Array) -> Array:
    import cv2

    if min(frame.shape[:2]) < SMALLEST:
        raise ValueError(f"frames of {frame.shape[1]} x {frame.shape[0]} pixels are too small for optical flow")
    return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
