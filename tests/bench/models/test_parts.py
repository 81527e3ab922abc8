"""Tokens and stages of the encoders that come with the harness."""

import pytest
import torch

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.models.parts import has_part, stages_of, tokens_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.tests.support.runs.named_nets import make_encoder

PADDED = Modality((9, 3), padded=True)
MEANS = [
    ("transformer", PADDED),
    ("conv2d", Modality((2, 9, 8))),
    ("conv2d", Modality((4, 2, 9, 8), padded=True)),
    ("resnet18", Modality((1, 33, 40))),
    ("resnet18", Modality((3, 1, 33, 40), padded=True)),
]
STAGES = {
    ("conv1d", PADDED): [(2, 5, 8), (2, 3, 8), (2, 2, 8)],
    ("transformer", PADDED): [(2, 9, 8)] * 3,
    ("conv2d", Modality((2, 9, 8))): [(2, 8, 5, 4), (2, 8, 3, 2), (2, 8, 2, 1)],
    ("resnet18", Modality((3, 1, 33, 40))): [
        *[(2, 3, 8, 9, 10)] * 2,
        *[(2, 3, 16, 5, 5), (2, 3, 32, 3, 3), (2, 3, 64, 2, 2)],
    ],
}


def drawn(kind: str, facts: Modality) -> torch.nn.Module:
    encoder = make_encoder(kind, facts, 6, EncoderSettings(width=8, depth=3))
    initialise(encoder, 0)
    return encoder.double().eval()


def sample(facts: Modality) -> tuple[torch.Tensor, torch.Tensor | None]:
    values = torch.randn(2, *facts.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return values, torch.tensor([2, facts.shape[0]]) if facts.padded else None


@pytest.mark.parametrize(("kind", "facts"), MEANS)
def test_the_mean_of_the_real_tokens_is_the_features(kind: str, facts: Modality) -> None:
    encoder = drawn(kind, facts)
    tokens, mask = tokens_of(encoder, *sample(facts))
    assert mask.dtype == torch.bool
    assert tokens.shape == (*mask.shape, 6)
    means = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(means, encoder(*sample(facts)))


def test_the_tokens_of_a_convolution_are_the_shares_of_eighths_and_sum_to_the_features() -> None:
    encoder = drawn("conv1d", Modality((40, 3), padded=True))
    values, _ = sample(Modality((40, 3)))
    lengths = torch.tensor([3, 40])
    tokens, mask = tokens_of(encoder, values, lengths)
    assert tokens.shape == (2, 8, 6)
    torch.testing.assert_close(tokens.sum(1), encoder(values, lengths))
    assert mask.sum(1).tolist() == [1, 5]  # three layers halve 3 steps to 1 and 40 to 5


@pytest.mark.parametrize(("kind", "facts"), STAGES)
def test_stages_are_the_outputs_on_the_way(kind: str, facts: Modality) -> None:
    found = stages_of(drawn(kind, facts), *sample(facts))
    assert [tuple(stage.shape) for stage in found] == STAGES[kind, facts]


def test_what_a_kind_declares_is_what_its_encoder_has() -> None:
    shapes = [Modality((5,)), PADDED, Modality((7, 3)), Modality((2, 33, 40)), Modality((2, 1, 33, 40))]
    for name, kind in encoder_kinds().items():
        for facts in shapes:
            if kind.fits(facts) and not kind.extra:
                encoder = drawn(name, facts)
                assert (kind.tokens, kind.stages) == (has_part(encoder, "tokens"), has_part(encoder, "stages")), name
