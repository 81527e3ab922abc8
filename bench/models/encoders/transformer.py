"""Transformer encoder for sequences of different lengths; its features do not depend on the padding."""

from torch import Tensor, nn

from mcr_bench.bench.models.attention import heads, with_positions
from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.over_time import mask_of, mean_over_time, time_mask, without_padding
from mcr_bench.bench.problem.facts import Modality


class SequenceTransformer(nn.Module):
    """Linear to `width`, sinusoidal positions, pre-norm layers, layer norm, mean over own steps, linear to (B, d).

    Pre-norm because it trains without a warm-up (Xiong et al., 2020).
    """

    def __init__(self, channels: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.embed: nn.Module = nn.Linear(channels, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads(width), 4 * width, dropout, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences (B, T, C) and their lengths (B,) -> features (B, d)."""
        x = self.stages(values, lengths)[-1]
        features: Tensor = self.project(mean_over_time(self.norm(x), lengths))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T, d) of every step, whose mean over the own steps is `forward`, and their mask (B, T)."""
        return self.project(self.norm(self.stages(values, lengths)[-1])), mask_of(values, lengths)

    def stages(self, values: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """The output (B, T, K) of every layer."""
        ignored = None if lengths is None else ~time_mask(lengths, values.shape[1])
        x = with_positions(self.embed(without_padding(values, lengths)))
        outputs = []
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=ignored)
            outputs.append(x)
        return outputs


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return SequenceTransformer(modality.shape[-1], out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="transformer",
    about="pre-norm transformer layers over the steps, mean over them",
    make=make,
    axes=(2,),
    padded=(2,),
    auto_padded=(2,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
)
