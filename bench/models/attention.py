"""Attention between tokens, with masks, and the pre-norm transformer block that several heads are made of."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.errors import UserError

HEAD_SIZE, MOST_HEADS = 8, 8


def heads(width: int) -> int:
    """The most attention heads, at most 8 and of size 8 or more, that divide `width`."""
    return max(n for n in range(1, MOST_HEADS + 1) if width % n == 0 and (n == 1 or width // n >= HEAD_SIZE))


def chosen_heads(asked: int, width: int, key: str) -> int:
    """The number of attention heads that is asked for, 0 for `heads(width)`; UserError if it does not divide `width`.

    key: the setting that asks, for the error.
    """
    if asked and width % asked:
        allowed = ", ".join(str(n) for n in range(1, width + 1) if width % n == 0)
        raise UserError(f"{key}={asked} does not divide the width of the tokens, {width}. Allowed: {allowed}.")
    return asked or heads(width)


def positions(steps: int, width: int) -> Tensor:
    """Sinusoidal positions (T, width) of Vaswani et al. (2017): sine in even places, cosine in odd ones."""
    place = torch.arange(width)
    rate = torch.exp(-math.log(10_000.0) * (place - place % 2) / width)
    angle = torch.arange(steps)[:, None] * rate
    return torch.where(place % 2 == 0, angle.sin(), angle.cos())


def with_positions(tokens: Tensor) -> Tensor:
    """Tokens (B, T, K) with the sinusoidal position of each added."""
    return tokens + positions(tokens.shape[1], tokens.shape[2]).to(tokens, non_blocking=True)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(K)) v over the real keys: (B, h, S, K), (B, h, T, K) twice and mask (B, T) -> (B, h, S, K).

    A sample without any real key gets 0, and no gradient. dropout: the rate of dropout of the weights.

    >>> keys = torch.zeros(1, 1, 2, 1)
    >>> attend(torch.zeros(1, 1, 1, 1), keys, torch.tensor([[[[2.0], [9.0]]]]), torch.tensor([[True, False]])).item()
    2.0
    """
    some = mask.any(1)[:, None, None, None]
    seen = mask[:, None, None, :] | ~some
    given: Tensor = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
    passed: Tensor = given * some
    return passed


def split_heads(x: Tensor, count: int) -> Tensor:
    """(B, T, h K) -> (B, h, T, K)."""
    split: Tensor = x.unflatten(2, (count, -1)).transpose(1, 2)
    return split


class Glorot(nn.Linear):
    """A linear layer with the initial weights of Glorot and Bengio (2010), uniform, and a bias of 0."""

    def reset_parameters(self) -> None:
        """Glorot's uniform weights; a bias of 0."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Attention(nn.Module):
    """Attention with several heads (Vaswani et al., 2017) from tokens to those of a context."""

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        self.count, self.dropout = count, dropout
        self.query, self.key = Glorot(width, width), Glorot(width, width)
        self.value, self.out = Glorot(width, width), Glorot(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, S, K), those of the context (B, T, K) and their mask (B, T) -> (B, S, K)."""
        query, key, value = (
            split_heads(layer(y), self.count)
            for layer, y in ((self.query, x), (self.key, context), (self.value, context))
        )
        rate = self.dropout if self.training else 0.0
        given: Tensor = self.out(attend(query, key, value, mask, rate).transpose(1, 2).flatten(2))
        return given


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x): pre-norm, with a hidden layer of four times the width.

    dropout: the rate, after attention weights, attention, hidden layer and output.
    """

    def __init__(self, width: int, count: int, dropout: float, activation: nn.Module) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), Attention(width, count, dropout)
        self.between, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.hidden, self.output, self.activation = Glorot(width, 4 * width), Glorot(4 * width, width), activation

    def forward(self, x: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens x (B, S, K) -> (B, S, K); they attend to `context` (B, T, K) with mask (B, T), by default to x."""
        normed = self.before(x)
        x = x + self.drop(self.attention(normed, normed if context is None else self.before(context), mask))
        hidden = self.drop(self.activation(self.hidden(self.between(x))))
        passed: Tensor = x + self.drop(self.output(hidden))
        return passed
