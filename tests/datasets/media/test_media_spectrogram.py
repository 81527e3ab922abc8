"""Spectrograms: shapes of the papers, values derived by hand, and where a tone appears."""

import math

import numpy as np
import pytest

from mcr_bench.datasets.media.spectrogram import log_magnitude, log_mel, log_power, mel_bands, tile


def cosine(hertz: float, rate: int, samples: int) -> np.ndarray:
    return np.cos(2 * np.pi * hertz * np.arange(samples) / rate).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "seconds", "shape"),
    [(22050, 3, (257, 188)), (16000, 3, (257, 136))],  # CREMA-D and UCF101 of the MCR paper
)
def test_magnitudes_have_the_shapes_of_the_paper(rate: int, seconds: int, shape: tuple[int, int]) -> None:
    assert log_magnitude(np.zeros(rate * seconds, np.float32)).shape == shape


def test_powers_have_the_shape_of_the_paper() -> None:
    assert log_power(np.zeros(160_000, np.float32), 16000).shape == (257, 1004)  # AVE


def test_silence_is_the_floor_everywhere() -> None:
    floor = np.float32(np.log(1e-7))
    assert (log_magnitude(np.zeros(4000, np.float32)) == floor).all()
    assert (log_power(np.zeros(4000, np.float32), 16000) == floor).all()


def test_magnitude_of_a_tone_in_a_bin_is_a_quarter_of_the_window() -> None:
    """|sum of hann * cos| at the tone's own bin = n / 4; at the two beside it n / 8; 0 elsewhere (Hann's transform)."""
    wave = cosine(16000 * 32 / 512, 16000, 16000)
    middle = np.exp(log_magnitude(wave)[:, 20].astype(float))
    assert middle[32] == pytest.approx(512 / 4, rel=1e-4)
    assert middle[[31, 33]] == pytest.approx([512 / 8] * 2, rel=1e-4)
    assert np.delete(middle, [31, 32, 33]).max() < 1e-3


def test_windows_of_magnitudes_are_centred_on_multiples_of_the_hop() -> None:
    wave = np.zeros(4000, np.float32)
    wave[2 * 353] = 1  # in the middle of window 2, where Hann is 1; a click has the same magnitude at all frequencies
    result = np.exp(log_magnitude(wave).astype(float))
    assert result[:, 2] == pytest.approx(np.ones(257), rel=1e-5)
    assert result[:, 1] == pytest.approx(np.full(257, result[0, 1]), rel=1e-4)
    assert result[:, 1].max() < 0.5


def test_the_first_window_sees_zeros_before_the_wave() -> None:
    """Half of a window of ones: the sum of Hann over its second half is n / 4 + 1 / 2."""
    assert np.exp(log_magnitude(np.ones(4000, np.float32))[0, 0]) == pytest.approx(512 / 4 + 0.5, rel=1e-5)


def test_power_is_a_density_with_the_mean_of_each_window_removed() -> None:
    """Welch's density by hand: one-sided |FFT|^2 / (rate * sum of squares of a Tukey (1/4) window)."""
    n, rate, step = 512, 16000, 512 - 353
    wave = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    at = np.arange(n)
    edge = 0.25 * n / 2  # of the periodic window, whose n-th value would be the first
    window = np.ones(n)
    window[at < edge] = 0.5 * (1 - np.cos(np.pi * at[at < edge] / edge))
    late = at > n - edge
    window[late] = 0.5 * (1 - np.cos(np.pi * (n - at[late]) / edge))
    third = wave[2 * step : 2 * step + n].astype(float)
    power = np.abs(np.fft.rfft((third - third.mean()) * window)) ** 2 / (rate * (window**2).sum())
    power[1:-1] *= 2
    assert log_power(wave, rate)[:, 2] == pytest.approx(np.log(power + 1e-7), rel=1e-4)


def test_a_constant_has_no_power() -> None:
    assert log_power(np.full(1000, 0.5, np.float32), 16000) == pytest.approx(np.log(1e-7), abs=1e-3)


def test_tiling_repeats_cuts_and_clips() -> None:
    assert tile(np.array([0.1, 0.2, 3], np.float32), 7).tolist() == pytest.approx([0.1, 0.2, 1, 0.1, 0.2, 1, 0.1])
    assert tile(np.array([-2, 0.5], np.float32), 1).tolist() == [-1]
    with pytest.raises(ValueError, match="no sample"):
        tile(np.zeros(0, np.float32), 5)


@pytest.mark.parametrize(("rate", "bands", "hertz"), [(8000, 40, 1000.0), (16000, 24, 440.0)])
def test_mel_bands_of_a_tone(rate: int, bands: int, hertz: float) -> None:
    """The loudest band is the one whose middle is nearest to the tone on the mel scale, counted by hand."""
    wave = np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    image = log_mel(wave, rate, bands, n_fft=512, hop=100)
    assert image.shape == (bands, 1 + rate // 100)
    mel = [2595 * math.log10(1 + f / 700) for f in (hertz, rate / 2)]
    assert abs(int(image[:, 50].argmax()) - (mel[0] / mel[1] * (bands + 1) - 1)) <= 0.6
    weights = mel_bands(rate, bands, 512)
    inner = weights.sum(0)[weights[:-1].argmax(1)]
    assert weights.min() == 0
    assert weights.max() <= 1
    assert np.all(inner <= 1 + 1e-9)  # neighbouring triangles add up to 1 between their middles


def test_mel_of_silence_is_its_floor() -> None:
    assert np.allclose(log_mel(np.zeros(1600), 8000), math.log(1e-6))
