"""Loss terms over several heads."""

from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task


def multi_loss(task: Task, outputs: Outputs, target: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
    """The terms of the multi-loss, each a tensor (): `fused`, and for every modality `own/MODALITY` times `weight`.

    target: (B,), for logits (B, C) of the fusion head and of every own head.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> outputs = SimpleNamespace(logits=torch.zeros(1, 2), own_logits={"audio": torch.zeros(1, 2)})
    >>> multi_loss(Task(2), outputs, torch.tensor([0]), weight=0.5)
    {'fused': tensor(0.6931), 'own/audio': tensor(0.3466)}
    """
    own = {f"own/{m}": task.loss(logits, target) for m, logits in outputs.own_logits.items()}
    if weight != 1.0:
        own = {name: weight * loss for name, loss in own.items()}
    return {"fused": task.loss(outputs.logits, target), **own}
