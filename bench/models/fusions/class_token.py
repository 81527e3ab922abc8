"""Self-attention with a class token over the tokens of all modalities."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.attention import attend, chosen_heads, split_heads
from mcr_bench.bench.models.declared import FusionKind, Values, as_settings
from mcr_bench.bench.models.fusion import Fused, Fusion
from mcr_bench.bench.models.parts import as_encoded
from mcr_bench.bench.settings.declaration import declared, setting

CODE = "RollingQ code"


@dataclass(frozen=True)
class ClassTokenSettings:
    """The settings of the class-token head, `model.*`."""

    heads: int = setting(1, "number of attention heads", origin=CODE, at_least=1)
    dropout: float = setting(
        0.2, "rate of dropout of attention weights and of what attention gives", origin=CODE, at_least=0, at_most=0.99
    )


@dataclass(frozen=True)
class Looked:
    """What the class token looks with, and at, for B samples.

    query: its query (B, d).
    own_key, own_value: its key and value (B, d).
    keys: modality -> the keys (B, T_m, d) of its tokens.
    values: modality -> the values (B, T_m, d) of its tokens.
    masks: modality -> (B, T_m), True on tokens that are real.
    """

    query: Tensor
    own_key: Tensor
    own_value: Tensor
    keys: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    def mean_keys(self) -> dict[str, Tensor]:
        """Modality -> the mean key (B, d) of each sample's real tokens; 0 where none is real."""
        return {
            m: (keys * self.masks[m][..., None]).sum(1) / self.masks[m].sum(1, keepdim=True).clamp(min=1)
            for m, keys in self.keys.items()
        }


class ClassToken(Fusion):
    """z = W O softmax(q [k_class; k_1; ...; k_T]^T / sqrt(d)) [v_class; v_1; ...; v_T] + b, q = Q x_class.

    One layer of self-attention over a learned class token and the tokens of all modalities, of which only the class
    token is read; keys, values and the output O have biases.

    For methods that act on the attention: `looked(features)` gives its query and keys, and `answer(looked)` the logits,
    also of a `Looked` whose query has been changed. `query`, `key`, `value` and `out` are linear layers; a method that
    always changes the query may put another module (B, d) -> (B, d) after `query`, in `turn`, in its `build`.
    """

    reads = ("tokens",)

    def __init__(self, modalities: list[str], width: int, outputs: int, settings: ClassTokenSettings) -> None:
        super().__init__()
        self.names, self.slices = sorted(modalities), nn.ModuleDict()
        self.heads = chosen_heads(settings.heads, width, "model.heads")
        self.token = nn.Parameter(torch.empty(width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.turn: nn.Module = nn.Identity()
        self.out, self.drop, self.output = (
            nn.Linear(width, width),
            nn.Dropout(settings.dropout),
            nn.Linear(width, outputs),
        )

    def reset_parameters(self) -> None:
        """A class token with a standard deviation of 0.02, cut at 2, as in the reference."""
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Encoded features (B, d), whose tokens (B, T_m, d) are read, -> logits (B, C)."""
        return Fused(self.answer(self.looked(features)), None)

    def looked(self, features: dict[str, Tensor]) -> Looked:
        """Query, keys and values for encoded features (B, d), as `MultimodalModel.encode` gives them."""
        tokens = as_encoded(features, "tokens").tokens
        given = {m: tokens[m] for m in self.names}
        first = next(iter(given.values()))[0]
        token = self.token.to(first).expand(len(first), -1)
        keys, values = ({m: layer(x) for m, (x, _) in given.items()} for layer in (self.key, self.value))
        masks = {m: mask for m, (_, mask) in given.items()}
        return Looked(self.turn(self.query(token)), self.key(token), self.value(token), keys, values, masks)

    def answer(self, looked: Looked) -> Tensor:
        """The logits (B, C) of what the class token looks with and at."""
        keys = torch.cat([looked.own_key[:, None], *looked.keys.values()], 1)
        values = torch.cat([looked.own_value[:, None], *looked.values.values()], 1)
        own = torch.ones_like(looked.query[:, :1], dtype=torch.bool)
        mask = torch.cat([own, *looked.masks.values()], 1)
        query, keys, values = (split_heads(x, self.heads) for x in (looked.query[:, None], keys, values))
        given = attend(query, keys, values, mask, self.drop.p if self.training else 0.0).transpose(1, 2).flatten(1)
        logits: Tensor = self.output(self.drop(self.out(given)))
        return logits


def make(modalities: list[str], width: int, outputs: int, values: Values) -> ClassToken:
    """The head; UserError where the attention heads do not divide the width."""
    return ClassToken(modalities, width, outputs, as_settings(ClassTokenSettings, values))


KIND = FusionKind(
    name="class-token",
    about="self-attention with a class token over the tokens of all modalities",
    make=make,
    reads=ClassToken.reads,
    reference="RollingQ: Reviving the Cooperation Dynamics in Multimodal Transformer (ICML 2025, arXiv 2506.11465), "
    "its fusion by attention; class token: Dosovitskiy et al., 2021 (arXiv 2010.11929)",
    deviations=(
        "With several heads each has d / h features. Official code: d features each.",
        "Padded tokens are not attended to. Official code: it has no padding.",
    ),
    settings=declared(ClassTokenSettings),
    at_least=2,
)
