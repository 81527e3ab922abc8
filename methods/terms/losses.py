"""Loss terms over several heads, and means over a batch in which some samples lack a modality or have it dropped."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task

ALL: Mapping[str, Tensor] = {}  # every sample has every modality


def multi_loss(
    task: Task, outputs: Outputs, target: Tensor, weight: float = 1.0, having: Mapping[str, Tensor] = ALL
) -> dict[str, Tensor]:
    """The terms of the multi-loss, each a tensor (): `fused`, and for every modality `own/MODALITY` times `weight`.

    target: (B,), for logits (B, C) of the fusion head and of every own head.
    having: modality -> (B,) bool, the samples over which its own loss is a mean, where these are not all
        (`Batch.having`).

    >>> import torch
    >>> from types import SimpleNamespace
    >>> outputs = SimpleNamespace(logits=torch.zeros(1, 2), own_logits={"audio": torch.zeros(1, 2)})
    >>> multi_loss(Task(2), outputs, torch.tensor([0]), weight=0.5)
    {'fused': tensor(0.6931), 'own/audio': tensor(0.3466)}
    """
    own = {f"own/{m}": loss for m, loss in own_losses(task, outputs, target, having).items()}
    if weight != 1.0:
        own = {name: weight * loss for name, loss in own.items()}
    return {"fused": task.loss(outputs.logits, target), **own}


def own_losses(task: Task, outputs: Outputs, target: Tensor, having: Mapping[str, Tensor] = ALL) -> dict[str, Tensor]:
    """Modality -> the loss () of its own head's logits (B, C), over the samples that have the modality."""
    return {m: loss_of(task, logits, target, having.get(m)) for m, logits in outputs.own_logits.items()}


def loss_of(task: Task, logits: Tensor, target: Tensor, having: Tensor | None = None) -> Tensor:
    """The loss () of logits (B, C), as the mean over the samples at which `having` (B,) is set; 0 if there is none.

    >>> right = torch.tensor([[9.0, 0.0], [0.0, 0.0]])
    >>> loss_of(Task(2), right, torch.tensor([0, 0]), torch.tensor([False, True])).exp()
    tensor(2.)
    """
    if having is None:
        return task.loss(logits, target)
    return loss_mean(task.per_sample(logits, target), having)


def loss_mean(losses: Tensor, having: Tensor) -> Tensor:
    """The mean () of losses (B,) over the samples at which `having` (B,) is set; 0 if there is none.

    >>> loss_mean(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([True, False, True]))
    tensor(2.)
    """
    return torch.where(having, losses, 0.0).sum() / having.sum().clamp(min=1)


def stacked(modalities: Sequence[str], having: Mapping[str, Tensor]) -> Tensor | None:
    """(M, B) bool, which samples have each of the modalities; None where all have all.

    >>> stacked(["audio", "video"], {"video": torch.tensor([False, True])})
    tensor([[ True,  True],
            [False,  True]])
    """
    if not having:
        return None
    everywhere = torch.ones_like(next(iter(having.values())))
    return torch.stack([having.get(m, everywhere) for m in modalities])


def batch_mean(values: Tensor, modalities: Sequence[str], having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean (M,) of values (M, B), one row per modality, over the samples that have it.

    having: modality -> (B,) bool; all samples have the others. Where no sample of the batch has a modality, the mean
    is not defined: nan.

    >>> batch_mean(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), ["audio", "video"], {"video": torch.tensor([False, True])})
    tensor([2., 3.])
    """
    kept = stacked(modalities, having)
    if kept is None:
        return values.mean(1)
    return torch.where(kept, values, 0.0).sum(1) / kept.sum(1)
