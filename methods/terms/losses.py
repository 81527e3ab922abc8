"""Loss terms over several heads."""

from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.task import Task


def multi_loss(task: Task, outputs: Outputs, target: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
    """The fused loss and `weight` times every own head's, as the terms `fused` and `own/MODALITY`."""
    own = {f"own/{m}": weight * task.loss(logits, target) for m, logits in outputs.own_logits.items()}
    return {"fused": task.loss(outputs.logits, target), **own}
