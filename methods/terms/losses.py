"""Loss terms over several heads."""

from collections.abc import Mapping

from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task
from mcr_bench.methods.terms.having import ALL, loss_of


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
