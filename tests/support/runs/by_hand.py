"""What encoders give, put together by hand, and transformer blocks with loops instead of tensors."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import Values
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.kinds import fusion_kind_of
from mcr_bench.bench.models.parts import Asked, Encoded, Stages

Array = NDArray[np.float64]
Activation = Callable[[Array], Array]


def encoded(
    features: Mapping[str, Tensor],
    tokens: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    stages: Mapping[str, Stages] | None = None,
) -> Encoded:
    """Features (B, d) with tokens and stages as given here."""

    def lacking(modality: str) -> UserError:
        return UserError(f"nothing of '{modality}' was given")

    def asked(parts: Mapping[str, object] | None) -> Asked[object]:
        return Asked({m: (lambda m=m: (parts or {})[m]) for m in parts or {}}, lacking)  # type: ignore[misc]

    return Encoded(features, asked(tokens), asked(stages))  # type: ignore[arg-type]


def drawn(name: str, modalities: list[str], width: int, outputs: int, values: Values, seed: int = 0) -> Fusion:
    """A head in double precision and evaluation mode, whose parameters, biases and norms too, are all drawn."""
    head = fusion_kind_of(name).make(modalities, width, outputs, values)
    return stirred(head, seed)


def stirred(head: Fusion, seed: int = 0) -> Fusion:
    """The head with noise on every parameter, as zeros and ones would hide what they stand for."""
    initialise(head, seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draw)
    return head.double().eval()


def values_of(shape: tuple[int, ...], place: int) -> Tensor:
    """Numbers of this shape in double precision, others for another place."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(place), dtype=torch.double)


def array(x: Tensor) -> Array:
    """A tensor of any shape as an array."""
    return x.detach().numpy().astype(np.float64)


def linear(layer: nn.Module, x: Array) -> Array:
    """A linear layer on a vector (K,)."""
    made = array(layer.weight) @ x  # type: ignore[arg-type]
    return made if layer.bias is None else made + array(layer.bias)  # type: ignore[arg-type]


def norm(layer: nn.Module, x: Array) -> Array:
    """Layer norm on a vector (K,)."""
    scaled = (x - x.mean()) / math.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return scaled * array(layer.weight) + array(layer.bias)  # type: ignore[arg-type]


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def gelu(x: Array) -> Array:
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def place(t: int, width: int) -> Array:
    """The sinusoidal position of token t."""
    pairs = [t / 10_000 ** (2 * (k // 2) / width) for k in range(width)]
    return np.array([math.sin(a) if k % 2 == 0 else math.cos(a) for k, a in enumerate(pairs)])


def attended(q: Array, keys: list[Array], values: list[Array], heads: int) -> Array:
    """One query (K,) over keys and values (K,) each, head by head, token by token."""
    size, out = len(q) // heads, []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = [math.exp(float(q[part] @ key[part]) / math.sqrt(size)) for key in keys]
        out.append(sum(s * v[part] for s, v in zip(scores, values, strict=True)) / sum(scores))
    return np.concatenate(out)


def block(
    layer: nn.Module, x: list[Array], heads: int, activation: Activation, context: list[Array] | None = None
) -> list[Array]:
    """A pre-norm block on tokens (K,), which attend to those of a context, or to themselves; all are real."""
    inner, before = layer.attention, layer.before
    assert isinstance(inner, nn.Module)
    assert isinstance(before, nn.Module)
    seen = [norm(before, y) for y in (x if context is None else context)]
    keys, values = ([linear(getattr(inner, name), y) for y in seen] for name in ("key", "value"))
    out = []
    for token in x:
        query = linear(inner.query, norm(before, token))  # type: ignore[arg-type]
        token = token + linear(inner.out, attended(query, keys, values, heads))  # type: ignore[arg-type]
        hidden = activation(linear(layer.hidden, norm(layer.between, token)))  # type: ignore[arg-type]
        out.append(token + linear(layer.output, hidden))  # type: ignore[arg-type]
    return out
