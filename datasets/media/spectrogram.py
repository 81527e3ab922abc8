"""Log spectrograms of waveforms, as the released code of the papers makes them: amplitude or power, centred or not."""

import numpy as np

from mcr_bench.bench.core.arrays import Array

FLOOR, MEL_FLOOR = 1e-7, 1e-6


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
    return np.asarray(np.log(_magnitude(wave, n_fft, hop) + FLOOR), np.float32)


def log_mel(wave: Array, rate: int, bands: int = 40, n_fft: int = 256, hop: int = 80) -> Array:
    """log(mel power + 1e-6): (T,) float -> (bands, 1 + T // hop) float32, windows as in `log_magnitude`.

    Bands are triangles of height 1, at equal distances from 0 to rate / 2 on the mel scale 2595 log10(1 + f / 700)
    (O'Shaughnessy, 1987). rate: samples per second.

    >>> log_mel(np.zeros(800), 8000).shape
    (40, 11)
    """
    power = _magnitude(wave, n_fft, hop) ** 2
    return np.asarray(np.log(mel_bands(rate, bands, n_fft) @ power + MEL_FLOOR), np.float32)


def mel_bands(rate: int, bands: int, n_fft: int) -> Array:
    """The weight of each frequency in each band, (bands, n_fft / 2 + 1) float64; see `log_mel`."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    frequency = np.linspace(0, rate / 2, n_fft // 2 + 1)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequency - left) / (middle - left), (right - frequency) / (right - middle)
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


def _magnitude(wave: Array, n_fft: int, hop: int) -> Array:
    """|STFT| (n_fft / 2 + 1, 1 + T // hop) float64 of a wave (T,), with a periodic Hann window and zeros beyond it."""
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    magnitude: Array = np.abs(np.fft.rfft(windows * hann, axis=1)).T
    return magnitude


def log_power(wave: Array, rate: int, n_fft: int = 512, overlap: int = 353) -> Array:
    """log(power density + 1e-7): (T,) float -> (n_fft / 2 + 1, (T - overlap) // (n_fft - overlap)) float32.

    The density (per hertz, one-sided) is that of `scipy.signal.spectrogram` with its own defaults: only windows that
    lie completely in the wave, a Tukey window (1/4), and the mean of each window removed. rate: samples per second.
    """
    from scipy.signal import spectrogram

    _, _, density = spectrogram(wave.astype(np.float64), rate, nperseg=n_fft, noverlap=overlap)
    return np.asarray(np.log(density + FLOOR), np.float32)
