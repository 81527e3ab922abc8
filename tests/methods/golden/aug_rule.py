"""Steps of AUG in plain torch, from the words of its description: parameters are moved by hand."""

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.datasets.base import Batch

Weights = dict[str, Tensor]


def layers(weights: Weights, modality: str) -> list[str]:
    """The names of a modality's layers before the shared one, the oldest first."""
    grown = sorted(k.removesuffix(".weight") for k in weights if k.startswith(f"extras.{modality}_") and "weight" in k)
    return [f"fusion.embeddings.{modality}", *grown]


def scores(weights: Weights, modality: str, features: Tensor) -> list[Tensor]:
    """The logits (B, C) of each of a modality's classifiers."""
    hidden = [(features @ weights[f"{k}.weight"].T + weights[f"{k}.bias"]).relu() for k in layers(weights, modality)]
    return [h @ weights["fusion.head.weight"].T + weights["fusion.head.bias"] for h in hidden]


def turn_loss(each: list[Tensor], target: Tensor, residual: float) -> Tensor:
    """CE of the sum, of the older ones and of the newest, less `residual` times its soft-label CE with y q."""
    rows = torch.arange(len(target))
    log_p = sum(each).log_softmax(1)  # type: ignore[union-attr]
    total = -log_p[rows, target].mean()
    if len(each) == 1:
        return total
    old, new = sum(each[:-1]).log_softmax(1), each[-1].log_softmax(1)  # type: ignore[union-attr]
    soft = torch.eye(new.shape[1], dtype=new.dtype)[target] * old.detach().exp()
    return total - old[rows, target].mean() - new[rows, target].mean() + residual * (soft * new).sum(1).mean()


def steps(
    model: MultimodalModel, batches: list[Batch], turns: list[str], rate: float, residual: float, fixed: bool = False
) -> tuple[Weights, list[Weights]]:
    """The weights after one plain gradient step per batch and modality, and the gradients of each step.

    fixed: whether layers that have grown stay as they are.
    """
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    every: list[Weights] = []
    for batch in batches:
        for m in turns:
            learns = (
                f"encoders.{m}.",
                f"fusion.embeddings.{m}.",
                "fusion.head.",
                *(() if fixed else (f"extras.{m}_",)),
            )
            mine = {k: v.requires_grad_() for k, v in weights.items() if k.startswith(learns)}
            features = torch.func.functional_call(
                model.encoders[m],
                {k.removeprefix(f"encoders.{m}."): v for k, v in mine.items() if k.startswith("encoders.")},
                (batch.inputs.values[m], None),
            )
            loss = turn_loss(scores(weights, m, features), batch.target, residual)
            made = dict(zip(mine, torch.autograd.grad(loss, list(mine.values())), strict=True))
            every.append(made)
            weights = {k: (v - rate * made[k] if k in made else v).detach() for k, v in weights.items()}
    return weights, every
