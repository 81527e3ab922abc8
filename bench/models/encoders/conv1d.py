"""Convolutions over the steps of a sequence."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import SIZES, EncoderKind, Values, as_encoder_settings, encoder_settings
from mcr_bench.bench.models.layers import STRIDE, activated, draw_he
from mcr_bench.bench.models.over_time import PARTS, mask_of, mean_over_parts, without_padding
from mcr_bench.bench.problem.facts import Modality

KERNEL = 9


class Convolution1d(nn.Conv1d):
    """A strided convolution over time, He normal: without normalisation, deeper stacks otherwise lose the signal."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, KERNEL, STRIDE, KERNEL // 2)

    def reset_parameters(self) -> None:
        """He normal weights (fan in), zero bias."""
        draw_he(self)


class ConvSequence(nn.Module):
    """Strided 1-D convolutions with ReLU over (B, T, C), means over eighths of the own steps, linear to (B, d).

    Eighths keep what one mean over time loses: whether a movement goes up or down.
    """

    def __init__(self, channels: int, out: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        sizes = [channels] + [width] * depth
        self.layers = nn.ModuleList(activated(Convolution1d(a, b), dropout) for a, b in pairwise(sizes))
        self.project = nn.Linear(PARTS * width, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sequences (B, T, C) and their lengths (B,) -> features (B, d)."""
        features: Tensor = self.project(mean_over_parts(*self._last(values, lengths)))
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each eighth of a sequence adds to its features, (B, 8, d), and which eighths hold steps, (B, 8)."""
        x, lengths = self._last(values, lengths)
        parts = mean_over_parts(x, lengths).unflatten(1, (PARTS, -1))
        weight = self.project.weight.unflatten(1, (PARTS, -1))
        held = mean_over_parts(mask_of(x, lengths)[..., None].to(x.dtype), lengths) > 0
        return torch.einsum("bpk,opk->bpo", parts, weight) + self.project.bias / PARTS, held

    def stages(self, values: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """The output of every convolution, (B, T / 2, K), (B, T / 4, K), ..."""
        return [x for x, _ in self._outputs(values, lengths)]

    def stage_lengths(self, lengths: Tensor) -> list[Tensor]:
        """(B,) steps of the samples -> (B,) steps of every stage."""
        halved = [lengths]
        for _ in self.layers:
            halved.append((halved[-1] + STRIDE - 1) // STRIDE)
        return halved[1:]

    def _last(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self._outputs(values, lengths)[-1]

    def _outputs(self, values: Tensor, lengths: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        """Every layer's output and its lengths.

        Padding is set to 0 before every layer: it then equals the border that a convolution adds by itself.
        """
        x, outputs = values, []
        after = [None] * len(self.layers) if lengths is None else self.stage_lengths(lengths)
        for layer, left in zip(self.layers, after, strict=True):
            x, lengths = layer(without_padding(x, lengths).transpose(1, 2)).transpose(1, 2), left
            outputs.append((x, lengths))
        return outputs


def make(modality: Modality, out: int, values: Values) -> nn.Module:
    """The encoder of one modality."""
    settings = as_encoder_settings(values)
    return ConvSequence(modality.shape[-1], out, settings.width, settings.depth, settings.dropout)


KIND = EncoderKind(
    name="conv1d",
    about="strided 1-D convolutions, means over eighths of the sequence",
    make=make,
    axes=(2,),
    padded=(2,),
    auto=(2,),
    settings=encoder_settings(*SIZES),
    tokens=True,
    stages=True,
)
