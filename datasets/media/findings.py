"""What is odd about sound and pictures that decode: told to `prepare`, which keeps the clip and names it."""

from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.media.reasons import Unusable, tell

SILENT = 2.0**-16  # half of the smallest step of 16 bits, as deviation: below it nothing was recorded
QUIET = 10 ** (-70 / 20)  # -70 dB of full scale, as deviation: a room without speech is louder (ours)
CANCELLED = 10 ** (-30 / 20)  # of the first channel's deviation: codecs leave about -40 dB of what cancels (ours)
EDGE = 64  # samples at each end that the filter of resampling bends: it sees zeros beyond
GRID = 32  # rows and columns of means over areas, in which the noise of codecs averages out
BLACK, SAME, STILL = 24, 2, 4  # of 255: so bright at most; so different at most within a frame; and between frames


def require_sound(wave: Array, name: str) -> Array:
    """The wave (T,) itself; `Unusable` where it holds digital silence: nothing but one value, whatever that is.

    name: of the file, for the message.
    """
    inner = wave[EDGE:-EDGE] if len(wave) > 4 * EDGE else wave
    if float(inner.std(dtype=np.float64)) < SILENT:
        value = float(np.median(inner))
        level = "0" if abs(value) < SILENT else f"{value:.3g}, a constant"
        raise Unusable(
            f"{name}: no sound: all of its samples are {level} (digital silence). "
            "Leave the clip out, or find a copy that has sound."
        )
    return wave


def audible(heard: Array, rate: int, start: float, stop: float | None) -> Array:
    """(2, T) mean and first channel -> (T,): the mean; the first where the mean cancels between `start` and `stop`.

    Told: channels that cancel; silence (of which `require_sound` makes an end); below -70 dB of full scale.
    """
    mean: Array = heard[0]
    first: Array = heard[1]
    part = slice(round(start * rate), None if stop is None else round(stop * rate))
    mixed, single = _deviation(mean[part]), _deviation(first[part])
    if single >= QUIET and mixed < CANCELLED * single:
        tell("its channels are in antiphase and cancel when mixed to mono; the first channel is used")
        return first
    if mixed < SILENT:
        tell("silent: one and the same value throughout")
    elif mixed < QUIET:
        tell(f"almost silent: {20 * np.log10(mixed):.0f} dB of full scale")
    return mean


def _deviation(wave: Array) -> float:
    return float(wave.std(dtype=np.float64)) if len(wave) else 0.0


def tell_of_pictures(pictures: Sequence[Array]) -> None:
    """Tell of frames (H, W, 3) uint8 of a clip, each given once, that are black, of one colour, or all the same."""
    grids = [_grid(picture) for picture in pictures]
    black = [float(grid.max()) <= BLACK for grid in grids]
    even = [float(np.ptp(grid, axis=(0, 1)).max()) <= SAME for grid in grids]
    plain = [one and not dark for one, dark in zip(even, black, strict=True)]
    if any(black):
        tell(f"{_share(sum(black), len(grids))} black")
    if any(plain):
        tell(f"{_share(sum(plain), len(grids))} of one colour")
    if len(grids) > 1 and not all(black) and not all(plain) and _still(grids):
        tell("frozen: its frames do not differ")


def _share(count: int, total: int) -> str:
    if count < total:
        return f"{count} of its {total} frames {'is' if count == 1 else 'are'}"
    return "its only frame is" if total == 1 else f"all of its {total} frames are"


def _still(grids: Sequence[Array]) -> bool:
    return all(grid.shape == grids[0].shape and float(np.abs(grid - grids[0]).max()) <= STILL for grid in grids[1:])


def _grid(picture: Array) -> Array:
    """Means over areas, at most 32 x 32 of them, (h, w, 3) float32."""
    import cv2

    size = (min(picture.shape[1], GRID), min(picture.shape[0], GRID))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
