"""What this dataset alone promises; `mcr-bench check` has what every dataset does."""

from pathlib import Path

import torch

from mcr_bench_example.tones import Tones, tone


def test_a_tone_has_one_period_more_than_its_class() -> None:
    waves = tone(torch.tensor([0, 2]), torch.zeros(2))[..., 0]
    strengths = torch.fft.rfft(waves).abs()
    assert strengths.argmax(1).tolist() == [1, 3]


def test_noise_hides_the_classes() -> None:
    spread = [deviation_within(Tones(Path(), noise=noise)) for noise in (0.0, 3.0)]
    assert spread[0] < 1e-3 < 0.5 < spread[1]


def deviation_within(data: Tones) -> float:
    """The deviation of colours within a class."""
    part = data.load("drawn", 1, 0, ("colour",)).train
    values = part.values["colour"]
    assert isinstance(values, torch.Tensor)
    return float(values[part.target == 1].std(0).mean())
