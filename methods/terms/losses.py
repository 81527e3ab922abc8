"""Loss terms over several heads."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    own = own_losses(task, outputs, target, weight)
    return {"fused": task.loss(outputs.logits, target), **{f"own/{m}": loss for m, loss in own.items()}}


def own_losses(task: Task, outputs: Outputs, target: Tensor, weight: float = 1.0) -> dict[str, Tensor]:
    """Modality -> `weight` times the loss () of its own head's logits against a target (B,).

    Linear heads of a classification are computed together, by the operations that autograd would call, in their order:
    the results have the same bits, and a third of the work of recording and calling them is saved.
    """
    if not _together(task, outputs):
        return {m: weight * task.loss(logits, target) for m, logits in outputs.own_logits.items()}
    heads = [outputs.model.own_heads[m] for m in outputs.features]
    parameters = [p for head in heads for p in (head.weight, head.bias)]
    *losses, logits = _OwnLosses.apply(target, weight, *outputs.features.values(), *parameters)  # type: ignore[no-untyped-call]
    outputs.own_logits = dict(zip(outputs.features, logits.unbind(), strict=True))
    return dict(zip(outputs.features, losses, strict=True))


def _together(task: Task, outputs: Outputs) -> bool:
    """Whether the heads are plain linear layers in one precision, whose logits nobody has asked for before."""
    if task.regression or "own_logits" in vars(outputs) or torch.is_autocast_enabled(outputs.logits.device.type):
        return False
    return all(_is_plain(outputs.model.own_heads[m]) for m in outputs.features)


def _is_plain(head: nn.Module) -> bool:
    hooked = head._forward_hooks or head._forward_pre_hooks or head._backward_hooks or head._backward_pre_hooks
    return type(head) is nn.Linear and head.bias is not None and not hooked and "forward" not in vars(head)


class _OwnLosses(torch.autograd.Function):
    """M features (B, d), then weight (C, d) and bias (C,) of each head -> M losses () and the logits (M, B, C)."""

    @staticmethod
    def forward(ctx: Any, target: Tensor, weight: float, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(tensors) // 3
        features, weights, biases = tensors[:count], tensors[count::2], tensors[count + 1 :: 2]
        logits = torch.stack([F.linear(*each) for each in zip(features, weights, biases, strict=True)])
        chances = logits.log_softmax(-1)
        losses = torch.stack([F.nll_loss(of_one, target) for of_one in chances.unbind()]) * weight
        ctx.save_for_backward(target, chances, *features, *weights)
        ctx.weight = weight
        ctx.set_materialize_grads(False)
        return *losses.unbind(), logits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        target, chances, *tensors = ctx.saved_tensors
        features, weights = tensors[: len(chances)], tensors[len(chances) :]
        slopes = _slopes(grads[:-1], ctx.weight, chances, target)
        of_logits = (slopes if grads[-1] is None else slopes + grads[-1]).unbind()
        of_heads = [
            (f.T @ g).T if i % 2 == 0 else g.sum(0) for f, g in zip(features, of_logits, strict=True) for i in (0, 1)
        ]
        return None, None, *(g @ w for g, w in zip(of_logits, weights, strict=True)), *of_heads


def _slopes(grads: tuple[Tensor | None, ...], weight: float, chances: Tensor, target: Tensor) -> Tensor:
    """The gradient in the logits (M, B, C) of mean losses whose gradients are `grads`, as cross-entropy computes it."""
    zero = chances.new_zeros(())
    of_losses = torch.stack([zero if g is None else g for g in grads]) * weight / -len(target)
    index = target.expand(len(chances), -1).unsqueeze(-1)
    of_chances = torch.zeros_like(chances).scatter_(-1, index, of_losses[:, None, None].expand_as(index))
    return torch._log_softmax_backward_data(of_chances, chances, -1, chances.dtype)
