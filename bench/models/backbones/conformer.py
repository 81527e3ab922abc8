"""Conformer (Gulati et al., 2020) over sequences of features, as the MCR paper has it behind them."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.whole import Whole, attention_heads, configuration, library
from mcr_bench.bench.models.over_time import mask_of, mean_over_time, time_mask, without_padding

REDUCED = 50  # channels after the 1 x 1 convolution (MCR code)


class ConformerEncoder(nn.Module):
    """(B, T, C): 1 x 1 convolution to 50, linear to `width`, `depth` Conformer layers, mean over own steps, linear.

    The layers are the library's, with relative positions. What its convolutions over time see of the padding is 0,
    so that in evaluation features do not depend on it; batch norm counts padded steps in training.
    """

    def __init__(self, channels: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, REDUCED)  # a 1 x 1 convolution over steps
        self.widen = nn.Linear(REDUCED, width)
        self.layers = Whole(partial(_layers, width, depth, dropout))
        self.project = nn.Linear(width, out)
        self._mask: Tensor | None = None
        model: Any = self.layers.model
        for layer in model.layers:
            layer.conv_module.depthwise_conv.register_forward_pre_hook(self._without_padding)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences (B, T, C) and their lengths (B,) -> features (B, d)."""
        features: Tensor = self.project(mean_over_time(self._steps(values, lengths), lengths))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, T, d) of every step, whose mean over the own steps is `forward`, and their mask (B, T)."""
        return self.project(self._steps(values, lengths)), mask_of(values, lengths)

    def _steps(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        self._mask = None if lengths is None else time_mask(lengths, values.shape[1])
        x = self.widen(self.reduce(without_padding(values, lengths)))
        steps: Tensor = self.layers(x, attention_mask=self._mask).last_hidden_state
        return steps

    def _without_padding(self, module: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        return None if self._mask is None else inputs[0] * self._mask[:, None]


def _layers(width: int, depth: int, dropout: float) -> nn.Module:
    if width % 2:
        raise UserError(f"encoder.width={width}: a Conformer needs an even width.")
    rates = ("hidden_dropout", "attention_dropout", "activation_dropout", "conformer_conv_dropout")
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": attention_heads(width),
        "intermediate_size": 4 * width,
        "hidden_act": "swish",
        "layerdrop": 0.0,
        "mask_time_prob": 0.0,
        "max_source_positions": 16,  # of the table of positions, which grows with the sequences
    }
    ignored = {"conv_dim": (1,), "conv_kernel": (1,), "conv_stride": (1,), "num_conv_pos_embedding_groups": 1}
    config = configuration("wav2vec2-conformer", "", {**sizes, **ignored, **dict.fromkeys(rates, dropout)}, {})
    encoder: Any = library().Wav2Vec2ConformerModel(config).encoder
    encoder.pos_conv_embed = nn.Identity()  # the library makes it and does not use it
    made: nn.Module = encoder
    return made
