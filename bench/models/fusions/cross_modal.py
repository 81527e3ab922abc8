"""Cross-modal attention between the sequences of every ordered pair of modalities (MulT, Tsai et al., 2019)."""

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.attention import Block, chosen_heads, with_positions
from mcr_bench.bench.models.declared import FusionKind, Values, as_settings
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.parts import as_encoded
from mcr_bench.bench.settings.declaration import declared, setting

SELF_LAYERS = 3  # at least so many layers of self-attention (MulT code)
CODE = "MulT code"


@dataclass(frozen=True)
class CrossModalSettings:
    """The settings of cross-modal attention, `model.*`."""

    size: int = setting(30, "width to which tokens are projected", origin=CODE, at_least=1)
    layers: int = setting(
        5,
        "number of layers of each cross-modal transformer; self-attention has as many, at least 3",
        origin=CODE,
        at_least=1,
    )
    heads: int = setting(
        5, "number of attention heads; 0 = the most, up to 8, that leave 8 features each", origin=CODE, at_least=0
    )
    dropout: float = setting(0.1, "rate of dropout in the layers", origin=CODE, at_least=0, at_most=0.99)
    embed_dropout: float = setting(
        0.2, "rate of dropout of what enters a transformer", origin=CODE, at_least=0, at_most=0.99
    )


class Transformer(nn.Module):
    """Tokens scaled by sqrt(width), with positions, through pre-norm layers and a norm (sec. 3.1, 3.2)."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float, embed_dropout: float) -> None:
        super().__init__()
        self.scale, self.drop = math.sqrt(width), nn.Dropout(embed_dropout)
        self.layers = nn.ModuleList(Block(width, heads, dropout, nn.ReLU()) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """x (B, S, K) -> (B, S, K); it attends to `context` (B, T, K), or to itself, where `mask` (B, T) is True."""
        x = self._embedded(x)
        seen = None if context is None else self._embedded(context)
        for layer in self.layers:
            x = layer(x, mask, seen)
        normed: Tensor = self.norm(x)
        return normed

    def _embedded(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.drop(with_positions(self.scale * x))
        return embedded


class CrossModal(Fusion):
    """y_{k->m} = cross_{k->m}(P_m x_m, P_k x_k): queries of m, keys and values of k, for all k != m (eq. 1, 3, 4).

    h_m = self_m([y_{k->m}; k != m]) at the last own token of m; h = [h_1; ...; h_M], and
    z = W (h + V relu(U h + c) + e) + b.
    """

    reads = ("tokens",)

    def __init__(self, modalities: list[str], width: int, outputs: int, settings: CrossModalSettings) -> None:
        super().__init__()
        self.names, size, rates = sorted(modalities), settings.size, (settings.dropout, settings.embed_dropout)
        heads, wide = chosen_heads(settings.heads, size, "model.heads"), (len(modalities) - 1) * settings.size
        self.slices = nn.ModuleDict({m: nn.Linear(width, size, bias=False) for m in self.names})
        self.pairs = nn.ModuleDict(
            {f"{k}->{m}": Transformer(size, settings.layers, heads, *rates) for k, m in permutations(self.names, 2)}
        )
        deep = max(settings.layers, SELF_LAYERS)
        self.memories = nn.ModuleDict({m: Transformer(wide, deep, heads, *rates) for m in self.names})
        last = len(modalities) * wide
        self.first, self.second, self.output = nn.Linear(last, last), nn.Linear(last, last), nn.Linear(last, outputs)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Encoded features (B, d), whose tokens (B, T_m, d) are read, -> logits (B, C)."""
        tokens = as_encoded(features, "tokens").tokens
        given = {m: (self.slices[m](tokens[m][0]), tokens[m][1]) for m in self.names}
        joined = torch.cat([self._of(m, given) for m in self.names], 1)
        return Fused(self.output(joined + self.second(self.first(joined).relu())), None)

    def _of(self, target: str, given: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """(B, (M - 1) K) of one modality, from tokens (B, T, K) and masks (B, T) of all."""
        x, mask = given[target]
        seen = [self.pairs[f"{k}->{target}"](x, given[k][1], given[k][0]) for k in self.names if k != target]
        remembered = self.memories[target](torch.cat(seen, 2), mask)
        return last_of(remembered, mask)


def last_of(tokens: Tensor, mask: Tensor) -> Tensor:
    """The last real token (B, K) of each sample, of tokens (B, T, K) with mask (B, T); the first where none is real.

    >>> last_of(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    place = (torch.arange(mask.shape[1], device=mask.device) * mask).amax(1)
    return tokens.gather(1, place[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]


def make(modalities: list[str], width: int, outputs: int, values: Values) -> CrossModal:
    """The head; UserError where the attention heads do not divide the width."""
    return CrossModal(modalities, width, outputs, as_settings(CrossModalSettings, values))


KIND = FusionKind(
    name="cross-modal",
    about="a cross-modal transformer for every ordered pair of modalities, then self-attention (MulT)",
    make=make,
    reads=CrossModal.reads,
    reference="Multimodal Transformer for Unaligned Multimodal Language Sequences (ACL 2019, arXiv 1906.00295), "
    "eq. 1, 3 and 4, sec. 3.2",
    deviations=(
        "Padded tokens are neither attended to nor read, and the last own token is taken. Official code: padding "
        "counts as tokens.",
        "No token is hidden from earlier ones. Official code: by default a future mask (`attn_mask`), which the paper "
        "does not have.",
        "One rate of dropout holds for attention weights of all modalities. Official code: 0 for those of sound and "
        "video. Raw text has no further dropout.",
        "The encoders come first. Reference: tokens are raw features after a temporal convolution of width 1, which is "
        "the projection here.",
    ),
    settings=declared(CrossModalSettings),
    at_least=2,
)
