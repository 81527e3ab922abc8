"""Bottleneck tokens: transformer layers per modality, which exchange information through a few tokens (MBT)."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.attention import Block, chosen_heads, with_positions
from mcr_bench.bench.models.declared import FusionKind, Values, as_settings
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.parts import as_encoded
from mcr_bench.bench.settings.declaration import declared, setting


@dataclass(frozen=True)
class BottleneckSettings:
    """The settings of bottleneck tokens, `model.*`."""

    bottlenecks: int = setting(4, "number of bottleneck tokens", origin="MBT code, AudioSet", at_least=1)
    layers: int = setting(
        4, "number of layers of each modality, all with bottlenecks", origin="MBT code, layers 8 to 12", at_least=1
    )
    heads: int = setting(0, "number of attention heads; 0 = the most, up to 8, that leave 8 features each", at_least=0)
    dropout: float = setting(0.0, "rate of dropout in the layers", origin="MBT code", at_least=0, at_most=0.99)


class Pathway(nn.Module):
    """What belongs to one modality: a class token, which is put before its tokens, and its layers."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(width))
        self.layers = nn.ModuleList(Block(width, heads, dropout, nn.GELU()) for _ in range(layers))

    def reset_parameters(self) -> None:
        """A class token of zeros, as in the reference."""
        nn.init.zeros_(self.token)

    def opened(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, d) and mask (B, T) -> with the class token first and positions added, (B, 1 + T, d)."""
        first = self.token.to(tokens).expand(len(tokens), 1, -1)
        return with_positions(torch.cat((first, tokens), 1)), with_real(mask, 1, before=True)

    def forward(self, layer: int, own: Tensor, shared: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Own tokens (B, 1 + T, d), their mask, and bottleneck tokens (B, N, d) -> both after one layer."""
        seen = with_real(mask, shared.shape[1])
        passed = self.layers[layer](torch.cat((own, shared), 1), seen)
        return passed[:, : own.shape[1]], passed[:, own.shape[1] :]


class BottleneckTokens(Fusion):
    """[x_m'; u_m] = layer_m([x_m; u]), u' = mean_m u_m (eq. 8, 9), layer by layer; x_m begins with a class token.

    z = mean_m W norm(x_m)_class + b: the logits of all modalities' class tokens, by one layer, averaged.
    """

    reads = ("tokens",)

    def __init__(self, modalities: list[str], width: int, outputs: int, settings: BottleneckSettings) -> None:
        super().__init__()
        count = chosen_heads(settings.heads, width, "model.heads")
        self.names, self.layers = sorted(modalities), settings.layers
        self.slices = nn.ModuleDict({m: Pathway(width, settings.layers, count, settings.dropout) for m in self.names})
        self.bottlenecks = nn.Parameter(torch.empty(settings.bottlenecks, width))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, outputs)

    def reset_parameters(self) -> None:
        """Bottleneck tokens with a standard deviation of 0.02, as in the reference."""
        nn.init.normal_(self.bottlenecks, std=0.02)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Encoded features (B, d), whose tokens (B, T_m, d) are read, -> logits (B, C)."""
        tokens = as_encoded(features, "tokens").tokens
        paths = {m: cast(Pathway, self.slices[m]) for m in self.names}
        own, masks = {}, {}
        for m, path in paths.items():
            own[m], masks[m] = path.opened(*tokens[m])
        shared = self.bottlenecks.expand(len(own[self.names[0]]), -1, -1)
        for layer in range(self.layers):
            shared = shared.to(own[self.names[0]])
            passed = {m: path(layer, own[m], shared, masks[m]) for m, path in paths.items()}
            own = {m: tokens for m, (tokens, _) in passed.items()}
            shared = torch.stack([x for _, x in passed.values()]).mean(0)
        return Fused(torch.stack([self.output(self.norm(x[:, 0])) for x in own.values()]).mean(0), None)


def with_real(mask: Tensor, count: int, before: bool = False) -> Tensor:
    """A mask (B, T) with `count` more tokens, which are real, after the others or before them."""
    more = mask.new_ones(len(mask), count)
    return torch.cat((more, mask) if before else (mask, more), 1)


def make(modalities: list[str], width: int, outputs: int, values: Values) -> BottleneckTokens:
    """The head; UserError where the attention heads do not divide the width."""
    return BottleneckTokens(modalities, width, outputs, as_settings(BottleneckSettings, values))


KIND = FusionKind(
    name="bottleneck-tokens",
    about="transformer layers per modality, joined by a few bottleneck tokens (MBT)",
    make=make,
    reads=BottleneckTokens.reads,
    reference="Attention Bottlenecks for Multimodal Fusion (NeurIPS 2021, arXiv 2107.00135), eq. 8 and 9, sec. 3.2",
    deviations=(
        "The layers before the bottlenecks are the encoder's. Reference: 8 layers of a Vision Transformer.",
        "Positions are sinusoidal, as numbers of tokens differ. Reference: learned.",
        "There are B bottleneck tokens. Official code: B + 1 where class tokens are read.",
        "The loss is that of the averaged logits, as in the paper. Official code: in training the mean of the "
        "modalities' losses.",
        "The output layer is drawn as every linear layer. Official code: zeros.",
        "No stochastic depth. Official code: rate 0.3.",
    ),
    settings=declared(BottleneckSettings),
    at_least=2,
)
