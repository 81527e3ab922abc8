"""Waveforms to log spectrograms, as the released code of the papers makes them: amplitude or power, centred or not."""

import numpy as np

from mcr_bench.bench.core.arrays import Array

FLOOR = 1e-7


def tile(wave: Array, samples: int) -> Array:
    """(T,) -> (samples,): repeated to the length, cut, clipped to [-1, 1]."""
    if not len(wave):
        raise ValueError("there is no sample to repeat")
    tiled: Array = np.clip(np.resize(wave, samples), -1, 1)
    return tiled


def log_magnitude(wave: Array, n_fft: int = 512, hop: int = 353) -> Array:
    """(T,) -> (n_fft / 2 + 1, 1 + T // hop) float32: log(|STFT| + 1e-7), periodic Hann window.

    Windows are centred on samples 0, hop, 2 hop, ...; the wave is continued by zeros.
    """
    padded = np.pad(wave.astype(np.float64), n_fft // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    magnitude = np.abs(np.fft.rfft(windows * hann, axis=1)).T
    return np.asarray(np.log(magnitude + FLOOR), np.float32)


def log_power(wave: Array, rate: int, n_fft: int = 512, overlap: int = 353) -> Array:
    """(T,) -> (n_fft / 2 + 1, (T - overlap) // (n_fft - overlap)) float32: log(power density + 1e-7).

    The density (per hertz, one-sided) is that of `scipy.signal.spectrogram` with its own defaults: windows that lie
    wholly in the wave, Tukey (1/4), each with its mean removed.
    """
    from scipy.signal import spectrogram

    _, _, density = spectrogram(wave.astype(np.float64), rate, nperseg=n_fft, noverlap=overlap)
    return np.asarray(np.log(density + FLOOR), np.float32)
