"""CRMT by plain loops and closed forms: margins, radii, slopes, and its two stages."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.fit import Fit

Rows = Callable[[Tensor], Tensor]
Slopes = list[list[float]]  # by modality and class


def symmetric_rows(weight: Tensor) -> Tensor:
    """(W W^T)^(-1/2) W by the eigenvalues of W W^T."""
    values, vectors = torch.linalg.eigh(weight @ weight.T)
    return vectors @ torch.diag(values.rsqrt()) @ vectors.T @ weight


def features_of(model: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {m: model.encoders[m](x, None) for m, x in values.items()}  # type: ignore[index, operator, union-attr]


def logits_alone(fit: Fit, values: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
    parts = fit.model.fusion.slices
    return {m: f @ rows(parts[m].weight).T for m, f in features_of(fit.model, values).items()}  # type: ignore[arg-type]


def first_loss(fit: Fit, values: dict[str, Tensor], target: Tensor, rho: float, rows: Rows) -> Tensor:
    """CE(z, y) + rho mean log(1e-5 + sum_m sum_{c != y} exp(z_m[c] - z_m[y])), sample by sample."""
    alone, parts = logits_alone(fit, values, rows), fit.model.fusion.slices
    fused = sum(parts[m].scale * z for m, z in alone.items()) + fit.model.fusion.bias  # type: ignore[operator]
    total = torch.zeros((), dtype=torch.float64)
    for i, y in enumerate(target.tolist()):
        behind = [(z[i, c] - z[i, y]).exp() for z in alone.values() for c in range(z.shape[1]) if c != y]
        total = total - fused[i].log_softmax(0)[y] + rho * (1e-5 + sum(behind)).log()  # type: ignore[union-attr]
    return total / len(target)


def jacobians(fit: Fit, modality: str, rows: Rows) -> Tensor:
    """The gradients (N, C, D) of each sample's logits z_m[c] by its input, one sample at a time."""
    made = rows(fit.model.fusion.slices[modality].weight.detach())  # type: ignore[arg-type, union-attr]

    def alone(x: Tensor) -> Tensor:
        features: Tensor = fit.model.encoders[modality](x[None], None)
        return (features @ made.T)[0]

    values = fit.train.values[modality]
    assert isinstance(values, Tensor)
    return torch.stack([torch.autograd.functional.jacobian(alone, x) for x in values])


def slopes_of(fit: Fit, rows: Rows) -> Slopes:
    return [jacobians(fit, m, rows).flatten(2).norm(dim=2).amax(0).tolist() for m in fit.model.modalities]


def second_loss(fit: Fit, alone: dict[str, Tensor], target: Tensor, slopes: Slopes) -> Tensor:
    """Minus the mean certified radius; the gradient is that of the scales."""
    scales = [fit.model.fusion.slices[m].scale for m in alone]  # type: ignore[union-attr]
    bias, logits = fit.model.fusion.bias.detach(), [z.detach() for z in alone.values()]  # type: ignore[union-attr]
    radii = []
    for i, y in enumerate(target.tolist()):
        fused = [sum(a[c] * z[i, c] for a, z in zip(scales, logits, strict=True)) + bias[c] for c in range(len(bias))]
        k = max((c for c in range(len(bias)) if c != y), key=lambda c, f=fused: float(f[c].detach()))  # type: ignore[misc]
        gap, reach = bias[y] - bias[k], torch.zeros((), dtype=torch.float64)
        for a, z, t in zip(scales, logits, slopes, strict=True):
            gap = gap + a[y] * z[i, y] - a[k] * z[i, k]
            reach = reach + (a[y] * t[y] + a[k] * t[k]) ** 2
        radii.append(gap / reach.sqrt())
    return -torch.stack(radii).mean()


def margin_by_hand(rows: list[list[float]], y: int) -> float:
    return math.log(1e-5 + sum(math.exp(row[c] - row[y]) for row in rows for c in range(len(row)) if c != y))
