"""Small encoders of the pre-trained kinds and samples for them: what the tests of backbones share."""

from typing import Any

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.datasets.base import Modality
from mcr_bench.tests.support.runs.named_nets import make_encoder

WAVE, CLIP = Modality((1200, 1)), Modality((4, 3, 32, 32))
SMALL = {"wav2vec2": WAVE, "wav2vec2-conformer": WAVE, "hubert": WAVE, "vivit": CLIP, "swin": CLIP}
CONFORMER = Modality((9, 5), padded=True)


def encoder_of(kind: str, facts: Modality, seed: int = 0, out: int = 6, **settings: Any) -> nn.Module:
    encoder = make_encoder(kind, facts, out, EncoderSettings(**{"width": 8, "depth": 1, **settings}, kind=kind))
    initialise(encoder, seed)
    return encoder


def sample(facts: Modality, n: int = 2, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    values = torch.randn(n, *facts.shape, generator=torch.Generator().manual_seed(seed))
    return values, torch.tensor([facts.shape[0] // 2, facts.shape[0]])[:n] if facts.padded else None


def model_in(encoder: nn.Module) -> Any:
    """The library's model inside an encoder."""
    (whole,) = [m for m in encoder.modules() if hasattr(m, "draw_all") and hasattr(m.model, "save_pretrained")]
    return whole.model


def assert_state(model: nn.Module, expected: dict[str, Tensor]) -> None:
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
