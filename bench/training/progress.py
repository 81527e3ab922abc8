"""What a run has done so far, which its checkpoint holds beside the state of model, optimiser and method."""

from dataclasses import dataclass, field
from typing import TypedDict

from torch import Tensor


class Logged(TypedDict):
    """An epoch that has ended: its metrics, and when it ended in seconds since 1970."""

    epoch: int
    metrics: dict[str, float]
    when: float


class Best(TypedDict):
    """The epoch that validation selects: its metrics on the validation part, the state dict, and what had grown."""

    epoch: int
    metrics: dict[str, float]
    weights: dict[str, Tensor]
    grown: list[str]


@dataclass
class Progress:
    """What a checkpoint holds besides the state of model, optimiser and method.

    history: the epochs that have ended.
    best: the best epoch so far; None before the first one.
    seconds: the time that training took.
    missing: diagnostic -> why it is missing.
    """

    history: list[Logged] = field(default_factory=list)
    best: Best | None = None
    seconds: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)

    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - (self.best["epoch"] if self.best else 0)
