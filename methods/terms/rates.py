"""Factors of learning rates, one for each modality: what a setting gives, and what follows from past scores."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.fit import Evaluation, Task
from mcr_bench.bench.problem.samples import Split


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


def split_scores(validation: Evaluation, val: Split, task: Task) -> dict[str, float]:
    """Modality -> `score_of` its share of the logits on the validation part `val`, where any sample has it."""
    scores = {}
    for m, logits in (validation.split_logits or {}).items():
        kept, target = (val.having(m, task.learned(rows)) for rows in (logits, validation.target))
        if len(kept):
            scores[m] = score_of(kept, target, task)
    return scores


def quotient(scores: Sequence[float], size: int) -> float:
    """q = the last score / mean of the `size` scores before it; 1 while there are fewer, and where their mean is 0.

    >>> quotient([0.4, 0.6, 0.6], size=2)
    1.2
    >>> quotient([0.4, 0.6], size=2)
    1.0
    """
    if not 0 < size < len(scores):
        return 1.0
    total = sum(scores[-size - 1 : -1])
    return scores[-1] * size / total if total > 0 else 1.0


def factors_of(text: str, setting: str = "mslr.rates") -> dict[str, float]:
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


def require_modalities(factors: Mapping[str, float], modalities: Collection[str], given: str) -> None:
    """UserError, which names what was `given`, if a factor is one of no modality of the data."""
    for m in factors:
        if m not in modalities:
            raise UserError(f"{given}: {unknown('modality', m, modalities)}")
