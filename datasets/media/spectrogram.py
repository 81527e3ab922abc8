"""Log spectrograms of waveforms, as the released code of the papers makes them: amplitude or power, centred or not."""

import numpy as np

from mcr_bench.bench.core.arrays import Array

FLOOR = 1e-7


def tile(wave: Array, samples: int) -> Array:
    """A wave (T,) float repeated or cut to (samples,), clipped to [-1, 1]; ValueError if it is empty.

    >>> tile(np.array([0.25, 2.0]), 3).tolist()
    [0.25, 1.0, 0.25]
    """
    if not len(wave):
        raise ValueError("a wave with no samples cannot be repeated")
    tiled: Array = np.clip(np.resize(wave, samples), -1, 1)
    return tiled


def log_magnitude(wave: Array, n_fft: int = 512, hop: int = 353) -> Array:
    """log(|STFT| + 1e-7) with a periodic Hann window: (T,) float -> (n_fft / 2 + 1, 1 + T // hop) float32.

    Windows are centred on samples 0, hop, 2 hop, ...; the wave is continued by zeros.

    >>> log_magnitude(np.zeros(1000)).shape
    (257, 3)
    """
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    magnitude = np.abs(np.fft.rfft(windows * hann, axis=1)).T
    return np.asarray(np.log(magnitude + FLOOR), np.float32)


def log_power(wave: Array, rate: int, n_fft: int = 512, overlap: int = 353) -> Array:
    """log(power density + 1e-7): (T,) float -> (n_fft / 2 + 1, (T - overlap) // (n_fft - overlap)) float32.

    The density (per hertz, one-sided) is that of `scipy.signal.spectrogram` with its own defaults: only windows that
    lie completely in the wave, a Tukey window (1/4), and the mean of each window removed. rate: samples per second.
    """
    from scipy.signal import spectrogram

    _, _, density = spectrogram(wave.astype(np.float64), rate, nperseg=n_fft, noverlap=overlap)
    return np.asarray(np.log(density + FLOOR), np.float32)
