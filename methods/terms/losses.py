"""Loss terms over several heads, and means over a batch in which some samples lack a modality or have it dropped."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task

ALL: Mapping[str, Tensor] = {}  # every sample has every modality
ADDITIVE_ONLY = "the harness gives this method additive fusion heads only"


def multi_loss(
    task: Task,
    outputs: Outputs,
    target: Tensor,
    weight: float = 1.0,
    having: Mapping[str, Tensor] = ALL,
    own: Mapping[str, Tensor] = ALL,
) -> dict[str, Tensor]:
    """The terms of the multi-loss, each a tensor (): `fused`, and for every modality `own/MODALITY` times `weight`.

    target: (B,), for logits (B, C) of the fusion head and of every own head.
    having: modality -> (B,) bool, the samples over which its own loss is a mean, where these are not all
        (`Batch.having`).
    own: modality -> (B,), what its own loss acts on instead of `target`, where the data says so (`Batch.own`).

    >>> import torch
    >>> from types import SimpleNamespace
    >>> outputs = SimpleNamespace(logits=torch.zeros(1, 2), own_logits={"audio": torch.zeros(1, 2)})
    >>> multi_loss(Task(2), outputs, torch.tensor([0]), weight=0.5)
    {'fused': tensor(0.6931), 'own/audio': tensor(0.3466)}
    """
    alone = {f"own/{m}": loss for m, loss in own_losses(task, outputs, target, having, own).items()}
    if weight != 1.0:
        alone = {name: weight * loss for name, loss in alone.items()}
    return {"fused": task.loss(outputs.logits, target), **alone}


def own_losses(
    task: Task,
    outputs: Outputs,
    target: Tensor,
    having: Mapping[str, Tensor] = ALL,
    own: Mapping[str, Tensor] = ALL,
) -> dict[str, Tensor]:
    """Modality -> the loss () of its own head's logits (B, C), over the samples that have the modality.

    own: as of `multi_loss`.
    """
    return {m: loss_of(task, z, own.get(m, target), having.get(m)) for m, z in outputs.own_logits.items()}


def split_losses(task: Task, outputs: Outputs, target: Tensor, having: Mapping[str, Tensor] = ALL) -> dict[str, Tensor]:
    """Modality -> the loss () of its share (B, C) of the logits, over the samples that have the modality."""
    return {m: loss_of(task, logits, target, having.get(m)) for m, logits in split_of(outputs).items()}


def split_of(outputs: Outputs) -> dict[str, Tensor]:
    """Modality -> its share (B, C) of the logits, for a method that `needs` an additive fusion head."""
    split = outputs.split_logits
    assert split is not None, ADDITIVE_ONLY
    return split


def require_additive(outputs: Outputs) -> None:
    """Refuse other fusion heads for a method that `needs` an additive one, in a step that does not read the shares."""
    assert outputs.branch_logits is not None, ADDITIVE_ONLY


def loss_of(task: Task, logits: Tensor, target: Tensor, having: Tensor | None = None) -> Tensor:
    """The loss () of logits (B, C), as the mean over the samples at which `having` (B,) is set; 0 if there is none.

    >>> right = torch.tensor([[9.0, 0.0], [0.0, 0.0]])
    >>> loss_of(Task(2), right, torch.tensor([0, 0]), torch.tensor([False, True])).exp()
    tensor(2.)
    """
    if having is None:
        return task.loss(logits, target)
    return loss_mean(task.per_sample(logits, target), having)


def loss_mean(losses: Tensor, having: Tensor | None) -> Tensor:
    """The mean () of losses (B,) over the samples at which `having` (B,) is set; 0 if there is none; None: of all.

    >>> loss_mean(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([True, False, True]))
    tensor(2.)
    """
    if having is None:
        return losses.mean()
    return torch.where(having, losses, 0.0).sum() / having.sum().clamp(min=1)


def having_each(having: Mapping[str, Tensor], *modalities: str) -> Tensor | None:
    """(B,) bool, the samples that have each of these modalities; None where all samples do.

    >>> having_each({"audio": torch.tensor([True, False])}, "audio", "video")
    tensor([ True, False])
    """
    kept = [having[m] for m in modalities if m in having]
    return reduce(and_, kept) if kept else None


def mean_of_present(logits: Mapping[str, Tensor], having: Mapping[str, Tensor] = ALL) -> Tensor:
    """The mean (B, C) of the modalities' logits (B, C), for each sample over the modalities that it has.

    >>> two = {"audio": torch.tensor([[2.0]]), "video": torch.tensor([[4.0]])}
    >>> mean_of_present(two), mean_of_present(two, {"audio": torch.tensor([False])})
    (tensor([[3.]]), tensor([[4.]]))
    """
    every, kept = torch.stack(list(logits.values())), stacked(list(logits), having)
    if kept is None:
        return every.mean(0)
    return torch.where(kept[..., None], every, 0.0).sum(0) / kept.sum(0).clamp(min=1)[:, None]


def targets_of(modalities: Sequence[str], target: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """What each modality's logits, stacked, are compared with: the target (B,), or (M, B) where some have their own.

    >>> targets_of(["audio", "video"], torch.tensor([1.0]), {"video": torch.tensor([3.0])})
    tensor([[1.],
            [3.]])
    """
    return torch.stack([own.get(m, target) for m in modalities]) if own else target


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
