"""Rows of clips with sound and a few frames stored as squares: what CREMA-D, AVE and UCF101 share in a cache."""

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.recipe import Field


def sound_and_frames(audio: tuple[int, ...], frames: int, size: int) -> dict[str, Field]:
    """The arrays of a cache.

    They are audio in the given shape (float16), video (frames, 3, size, size) (uint8 RGB), and aspect (), the width of
    the original frames divided by their height (float32).

    >>> sound_and_frames((1, 257, 136), 4, 256)["video"].shape
    (4, 3, 256, 256)
    """
    return {
        "audio": Field(audio, "float16"),
        "video": Field((frames, 3, size, size), "uint8"),
        "aspect": Field((), "float32"),
    }


def row_of(audio: Array, frames: Array, size: int) -> dict[str, Array]:
    """One clip as a row of these arrays. audio: (...) float; frames: (F, H, W, 3) uint8 RGB."""
    from mcr_bench.datasets.media.decode import aspect, fit

    return {
        "audio": audio.astype(np.float16),
        "video": fit(frames, size),
        "aspect": np.array(aspect(frames), np.float32),
    }
