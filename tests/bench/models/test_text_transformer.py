"""The encoder of ids of words: vectors looked up, no word without a part, chosen by `auto`, nothing else taken."""

import pytest
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.attention import positions
from mcr_bench.bench.models.build import encoder_kind, encoder_of, require_fit
from mcr_bench.bench.models.encoders.text_transformer import TextTransformer
from mcr_bench.bench.models.kinds import encoder_kind_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings

TEXT = Modality((6, 1), padded=True, vocabulary=9)
IDS = torch.tensor([[1, 2, 8, 0, 5, 3], [4, 7, 0, 0, 0, 0]])[..., None]
LENGTHS = torch.tensor([6, 2])


class Same(nn.Module):
    """A layer that changes nothing."""

    def forward(self, x: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        return x


def drawn(depth: int = 2) -> TextTransformer:
    encoder = TextTransformer(9, 5, 8, depth, 0.0)
    initialise(encoder, 0)
    return encoder.eval()


def test_without_layers_features_are_the_mean_of_vectors_and_positions() -> None:
    encoder = drawn(depth=0)
    encoder.layers = nn.ModuleList([Same()])
    one_hot = nn.functional.one_hot(IDS[..., 0], 9).float()
    summed = one_hot @ encoder.embed.weight + positions(6, 8)
    normed = nn.functional.layer_norm(summed, (8,))
    wanted = encoder.project(torch.stack([normed[0].mean(0), normed[1, :2].mean(0)]))
    torch.testing.assert_close(encoder(IDS, LENGTHS), wanted)


def test_no_word_is_a_zero_vector_that_learns_nothing() -> None:
    encoder = drawn()
    assert not encoder.embed.weight[0].any()
    encoder(IDS, LENGTHS).square().sum().backward()
    grown = encoder.embed.weight.grad.abs().sum(1)
    assert grown.nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 7, 8]


def test_padding_does_not_count_and_the_order_of_words_does() -> None:
    encoder = drawn()
    other = IDS.clone()
    other[1, 2:] = 6
    torch.testing.assert_close(encoder(other, LENGTHS), encoder(IDS, LENGTHS))
    turned = IDS[:1].flip(1)
    assert not torch.allclose(encoder(turned), encoder(IDS[:1]))
    features, mask = encoder.tokens(IDS, LENGTHS)
    assert mask.sum(1).tolist() == [6, 2]
    torch.testing.assert_close(features[1, :2].mean(0), encoder(IDS, LENGTHS)[1])


def test_auto_is_this_encoder_for_ids_alone() -> None:
    for padded in (True, False):
        assert encoder_kind("auto", Modality((6, 1), padded, vocabulary=9)) == "text-transformer"
        assert encoder_kind("auto", Modality((6, 1), padded)) == ("transformer" if padded else "conv1d")
    assert encoder_of(EncoderSettings(), TEXT).kind.name == "text-transformer"
    with pytest.raises(UserError, match=r"transformer does not take padded samples of shape \(6, 1\) with 9 ids of wo"):
        require_fit(encoder_kind_of("transformer"), TEXT)
    with pytest.raises(UserError, match="text-transformer does not take samples of shape"):
        require_fit(encoder_kind_of("text-transformer"), Modality((6, 1)))
