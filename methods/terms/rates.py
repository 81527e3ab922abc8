"""Factors of learning rates, one for each modality: what a setting gives, and what follows from past scores."""

from collections.abc import Sequence

from torch import Tensor

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.task import Task


def score_of(logits: Tensor, target: Tensor, task: Task) -> float:
    """How good one modality's share (N, C) of the logits is: its accuracy; of scores 1 / (mean error + 1e-8).

    Of several labels it is the share of all labels that are right. target: (N,) or (N, L), in the learned unit, as the
    logits are.

    >>> import torch
    >>> score_of(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), Task(2))
    0.5
    """
    if task.regression:
        return 1 / (float(task.loss(logits, target)) + 1e-8)
    return float((task.prediction(logits) == target).double().mean())


def quotient(score: float, memory: Sequence[float], size: int) -> float:
    """q = score / mean of the `size` scores before it; 1 while there are fewer, and where their mean is 0.

    >>> quotient(0.6, [0.4, 0.6], size=2)
    1.2
    >>> quotient(0.6, [0.4], size=2)
    1.0
    """
    total = sum(memory)
    return score * size / total if 0 < size <= len(memory) and total > 0 else 1.0


def factors_of(text: str, setting: str = "rates") -> dict[str, float]:
    """Modality -> its factor, of a text such as `audio=0.9/video=1.1`; UserError for any other text.

    setting: the name of the setting, for the error.

    >>> factors_of("audio=0.9/video=1.1")
    {'audio': 0.9, 'video': 1.1}
    """
    pairs = [part.partition("=") for part in text.split("/") if text]
    try:
        factors = {m.strip(): float(number) for m, _, number in pairs}
    except ValueError:
        factors = {"": -1.0}
    if len(factors) < len(pairs) or not all(m and 0 <= factor < float("inf") for m, factor in factors.items()):
        raise UserError(f"{setting}={text}: not allowed. Give each modality once, as audio=0.9/video=1.1.")
    return factors
