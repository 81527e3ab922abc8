"""Adam and AdamW whose fused step asks PyTorch for the kernel alone: on small models, half of a step is bookkeeping."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from mcr_bench.bench.training.strides import lay_out_gradients

Batch = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
PLAIN = {"amsgrad": False, "maximize": False, "differentiable": False, "capturable": False}


class _Quick(Optimizer):
    """A mixin before Adam or AdamW: groups of the usual kind go straight to `kernel`, all others to the class's step.

    The step before which a parameter has no state is the class's too.

    decoupled: whether the kernel decouples weight decay from the gradient.
    """

    kernel: Callable[..., None]
    decoupled: bool

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step on the gradients that are present; with the same bits as the class's own."""
        if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks:
            return Optimizer.profile_hook_step(_Quick._step)(self, closure)
        return self._step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # PyTorch would profile every step: a tenth of a small one

    @torch.no_grad()
    def _step(self, closure: Callable[[], float] | None = None) -> Any:
        lay_out_gradients(self.param_groups)
        batches = [self._gathered(group) for group in self.param_groups]
        if closure is not None or any(batch is None for batch in batches):
            step: Any = super().step
            hooked = getattr(step, "hooked", False)  # by an optimiser of the class itself; hooks must not run twice
            return step.__wrapped__(self, closure) if hooked else step(closure)
        for group, batch in zip(self.param_groups, batches, strict=True):
            if batch is not None and batch[0]:
                self._apply(group, batch)
        return None

    def _gathered(self, group: dict[str, Any]) -> Batch | None:
        """Parameters, gradients, both moments and step counts of a group; None if it is not of the usual kind."""
        usual = group.get("fused") and all(group[name] == value for name, value in PLAIN.items())
        decoupled = group.get("decoupled_weight_decay", self.decoupled)  # an option of PyTorch 2.7 and later
        if not usual or decoupled != self.decoupled or isinstance(group["lr"], Tensor):
            return None
        batch: Batch = ([], [], [], [], [])
        params, grads, means, squares, steps = batch
        for p in group["params"]:
            grad = p.grad
            if grad is None:
                continue
            state = self.state.get(p)
            if not state or (params and p.dtype != params[0].dtype):  # a kernel takes one type
                return None
            params.append(p)
            grads.append(grad)
            means.append(state["exp_avg"])
            squares.append(state["exp_avg_sq"])
            steps.append(state["step"])
        return batch

    def _apply(self, group: dict[str, Any], batch: Batch) -> None:
        params, grads, means, squares, steps = batch
        torch._foreach_add_(steps, 1)
        beta1, beta2 = group["betas"]
        type(self).kernel(
            params,
            grads,
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class QuickAdam(_Quick, Adam):
    """Adam; options and state are those of `torch.optim.Adam`."""

    kernel, decoupled = torch._fused_adam_, False


class QuickAdamW(_Quick, AdamW):
    """AdamW; options and state are those of `torch.optim.AdamW`."""

    kernel, decoupled = torch._fused_adamw_, True
