"""Sound and pictures that decode but look wrong: they are reported to `prepare`, which keeps the clip and names it."""

from collections.abc import Sequence

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.media.reasons import Unusable, report

SILENT = 2.0**-16  # standard deviation, half of the smallest step of 16 bits: below it nothing was recorded
QUIET = 10 ** (-70 / 20)  # standard deviation, -70 dB of full scale: a room without speech is louder (our choice)
CANCELLED = 10 ** (-30 / 20)  # of the first channel's deviation: codecs leave about -40 dB of what cancels (ours)
LOUD = 4.0  # times full scale, +12 dB: codecs overshoot less, and integers that were saved as floats more (our choice)
CUT = 1e-3  # share of samples beyond full scale that is reported (ours)
EDGE = 64  # samples at each end that resampling distorts, because its filter sees zeros beyond them
GRID = 32  # rows and columns of means over areas, in which the noise of codecs averages out
# Of 255: the brightness up to which a frame is black; differences up to which a frame has one colour; up to which two
# frames are equal.
BLACK, SAME, STILL = 24, 2, 4


def require_sound(wave: Array, name: str) -> Array:
    """The wave (T,) float itself; `Unusable` if it is digital silence: the same value throughout, whatever it is.

    name: the name of the file, for the message.
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


def within_full_scale(wave: Array, name: str) -> Array:
    """The wave (T,) float cut to [-1, 1]; `Unusable` if it reaches four times full scale.

    Reported are waves of which more than one sample in thousand is cut. name: the name of the file, for the message.
    """
    peak = float(np.abs(wave).max())
    if peak > LOUD:
        raise Unusable(
            f"{name}: its sound reaches {peak:.3g} times full scale: numbers that were saved as floats without being "
            "divided. Divide them by the largest number of their type (32768 for 16 bits), and save them again."
        )
    beyond = float((np.abs(wave) > 1).mean())
    if beyond > CUT:
        report(f"{100 * beyond:.1f} % of its samples are beyond full scale, and are cut there")
    cut: Array = np.clip(wave, -1, 1)
    return cut


def audible(heard: Array, rate: int, start: float, stop: float | None) -> Array:
    """The mean channel (T,), or the first channel if the channels cancel in their mean from `start` to `stop` seconds.

    heard: (2, T) float32, the mean of the channels and the first channel. rate: samples per second. Reported are
    channels that cancel, silence (which `require_sound` refuses), and sound below -70 dB of full scale.
    """
    mean: Array = heard[0]
    first: Array = heard[1]
    part = slice(round(start * rate), None if stop is None else round(stop * rate))
    mixed, single = _deviation(mean[part]), _deviation(first[part])
    if single >= QUIET and mixed < CANCELLED * single:
        report("its channels are in antiphase and cancel when mixed to mono; the first channel is used")
        return first
    if mixed < SILENT:
        report("silent: the same value throughout")
    elif mixed < QUIET:
        report(f"almost silent: {20 * np.log10(mixed):.0f} dB of full scale")
    return mean


def _deviation(wave: Array) -> float:
    return float(wave.std(dtype=np.float64)) if len(wave) else 0.0


def report_pictures(pictures: Sequence[Array]) -> None:
    """Report frames of a clip, each given once as (H, W, 3) uint8, that are black, of one colour, or all equal."""
    grids = [_grid(picture) for picture in pictures]
    black = [float(grid.max()) <= BLACK for grid in grids]
    uniform = [float(np.ptp(grid, axis=(0, 1)).max()) <= SAME for grid in grids]
    coloured = [one_colour and not dark for one_colour, dark in zip(uniform, black, strict=True)]
    if any(black):
        report(f"{_share(sum(black), len(grids))} black")
    if any(coloured):
        report(f"{_share(sum(coloured), len(grids))} of one colour")
    if len(grids) > 1 and not all(black) and not all(coloured) and _still(grids):
        report("frozen: its frames do not differ")


def _share(count: int, total: int) -> str:
    if count < total:
        return f"{count} of its {total} frames {'is' if count == 1 else 'are'}"
    return "its only frame is" if total == 1 else f"all of its {total} frames are"


def _still(grids: Sequence[Array]) -> bool:
    return all(grid.shape == grids[0].shape and float(np.abs(grid - grids[0]).max()) <= STILL for grid in grids[1:])


def _grid(picture: Array) -> Array:
    """The means of a picture over at most 32 x 32 areas, (h, w, 3) float32."""
    import cv2

    size = (min(picture.shape[1], GRID), min(picture.shape[0], GRID))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
