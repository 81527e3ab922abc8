"""Steps of MLA in plain torch, from the words of its description: parameters are moved by hand."""

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.datasets.base import Batch

Weights = dict[str, Tensor]


def steps(
    model: MultimodalModel,
    batches: list[Batch],
    turns: list[str],
    rate: float,
    alpha: float | None,
    wrong: bool = False,
) -> tuple[Weights, list[Tensor]]:
    """The weights after one plain gradient step per batch and modality, and the head's gradient (C, d) in each step.

    alpha: that of the first of the batches, which are those of an epoch; None: nothing is projected. wrong: the
    denominator is the matrix alpha + k r^T.
    """
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    width = weights["fusion.head.weight"].shape[1]
    p, count, gradients = torch.eye(width, dtype=torch.float64), 0, list[Tensor]()
    for t, batch in enumerate(batches):
        for m in turns:
            mine = {k: v.requires_grad_() for k, v in weights.items() if k.startswith((f"encoders.{m}.", "fusion."))}
            features = torch.func.functional_call(
                model.encoders[m],
                {k.removeprefix(f"encoders.{m}."): v for k, v in mine.items() if k.startswith("encoders.")},
                (batch.inputs.values[m], None),
            )
            z = features @ mine["fusion.head.weight"].T + mine["fusion.head.bias"]
            loss = -z.log_softmax(1)[torch.arange(len(z)), batch.target].mean()
            made = dict(zip(mine, torch.autograd.grad(loss, list(mine.values())), strict=True))
            if count and alpha is not None:
                r = features.detach().mean(0).reshape(-1, 1)
                k, small = p @ r, alpha * 10 ** (-t / len(batches))
                p = p - (k @ k.T) / (small + (k @ r.T if wrong else r.T @ k))
                p = p / p.pow(2).sum().sqrt()
                made["fusion.head.weight"] = made["fusion.head.weight"] @ p.T
            count += 1
            gradients.append(made["fusion.head.weight"])
            weights = {k: (v - rate * made[k] if k in made else v).detach() for k, v in weights.items()}
    return weights, gradients
