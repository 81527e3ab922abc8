"""What a training under test is of: modalities, task, settings, encoder; and what a method is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import ANY, Encoder, EncoderKind
from mcr_bench.bench.problem.absent import completed
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Splits
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import NAMES, SMALL, tiny_split
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import Method, Reference

CLASSES = Task(3)
TASKS = {
    "classes": CLASSES,
    "one score": Task(None),
    "several labels": Task(None, labels=3),
    "several scores": Task(None, scores=2),
}
WIDTH = 5  # values of a sample of a modality
STEPS = 4  # of padded sequences
PADDED = NAMES[1]  # the modality that has them
SIZE = 8  # samples per step: the 24 of `tiny_split` make three steps


class Plain(Method):
    """Joint training, whose hooks are all defaults: what a method is compared with."""

    name = "plain"
    reference = Reference("Joint training", "baseline")


@dataclass(frozen=True)
class Setup:
    """What a training is of.

    modalities: the modalities that the method is run on.
    task: what is learned.
    values: settings of the method, by key; others have their defaults.
    dtype: the type of inputs and weights.
    fusion: the fusion head.
    encoder: every modality's encoder.
    width: the number of values of a sample of each modality.
    training: settings of training, with two underscores for a dot.
    partly: whether every modality is missing from some samples, and the second one is of padded sequences.
    """

    modalities: tuple[str, ...] = NAMES[:2]
    task: Task = CLASSES
    values: Mapping[str, Value] = field(default_factory=dict, hash=False)
    dtype: torch.dtype = torch.float32
    fusion: str = "late-linear"
    encoder: EncoderSettings | Encoder = field(default=SMALL, hash=False)
    width: int = WIDTH
    training: Mapping[str, Value] = field(default_factory=dict, hash=False)
    partly: bool = False

    def part(self, modalities: tuple[str, ...], seed: int = 0) -> Split:
        """Samples of some modalities, drawn with this seed."""
        drawn = tiny_split(modalities, self.task, width=self.width, seed=seed)
        values = {m: x.to(self.dtype) for m, x in drawn.values.items() if isinstance(x, Tensor)}
        target = drawn.target.to(self.dtype) if drawn.target.is_floating_point() else drawn.target
        part = replace(drawn, values=values, target=target)
        return lacking(part) if self.partly else part


def lacking(part: Split) -> Split:
    """The part with every fourth sample lacking one modality, and the second modality as padded sequences (N, T, D).

    What is absent is the mean of the others, as in training.
    """
    place, lengths = torch.arange(len(part)), 1 + torch.arange(len(part)) % STEPS
    real = torch.arange(STEPS) < lengths[:, None]  # (N, T)
    every = {m: x for m, x in part.values.items() if isinstance(x, Tensor)}
    values = {m: x[:, None] * real[..., None] if m == PADDED else x for m, x in every.items()}
    present = {m: place % (4 * len(every)) != 4 * k for k, m in enumerate(every)}
    partly = replace(part, values=values, lengths={PADDED: lengths} if PADDED in every else {}, present=present)
    return completed(Splits(partly, partly, partly)).train


class Normed(nn.Module):
    """An encoder with batch norm, values (B, D) -> features (B, d), whose statistics show what passed through it."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shape[0], width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values (B, D) -> features (B, d)."""
        features: Tensor = self.layers(values)
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values (B, D) -> one token (B, 1, d), which does not pass through batch norm, and its mask (B, 1)."""
        features = torch.relu(self.layers[0](values))
        return features[:, None], torch.ones_like(features[:, :1], dtype=torch.bool)


def _normed(modality: Modality, width: int, _values: Mapping[str, Value]) -> nn.Module:
    return Normed(modality.shape, width)


NORMED = Encoder(EncoderKind("normed", "a linear layer with batch norm", _normed, ANY, tokens=True), {})
