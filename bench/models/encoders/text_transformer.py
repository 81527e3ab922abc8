"""Transformer encoder for ids of words: a learned vector for each, then the layers of the one for sequences."""

from torch import Tensor, nn

from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.encoders.transformer import SequenceTransformer
from mcr_bench.bench.problem.facts import Modality

NO_WORD = 0


class WordVectors(nn.Embedding):
    """Ids (B, T, 1) int64 -> learned vectors (B, T, K); that of 0, no word, is zero and stays so.

    Normal with deviation 1, as PyTorch draws them: of the size of the positions that are added.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__(vocabulary, width, padding_idx=NO_WORD)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[..., 0])


class TextTransformer(SequenceTransformer):
    """A vector for each word, sinusoidal positions, pre-norm layers, layer norm, mean over own words, linear to (B, d).

    Features, tokens and stages are those of `SequenceTransformer`, whose linear layer before them the vectors replace.
    """

    def __init__(self, vocabulary: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__(1, out, width, depth, dropout)
        self.embed = WordVectors(vocabulary, width)


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return TextTransformer(modality.vocabulary, out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="text-transformer",
    about="a learned vector for each word, pre-norm transformer layers over them, mean over the words",
    make=make,
    axes=(2,),
    padded=(2,),
    auto=(2,),
    auto_padded=(2,),
    takes=lambda modality: modality.shape[-1] == 1,
    ids=True,
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
)
