"""A fusion head that sums classifiers with rows of unit length, each class and modality with a scale of its own."""

from collections.abc import Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.models.fusion import Fused, Fusion, draw_bias, sum_of

Rows = Literal["orthogonal", "alone"]
SCALE = 0.1  # of every class and modality at first, as in the official code of CRMT
SMALLEST = 1e-12  # a shorter row is divided by this instead of its length


def orthogonal_rows(weight: Tensor) -> Tensor:
    """The matrix (C, d) with orthogonal rows of length 1 that is nearest to a weight (C, d), C <= d: (W W^T)^-1/2 W.

    With W = U S V^T it is U V^T. Its gradient is computed from the derivative of this polar factor,
    U K V^T + U S^-1 U^T dW (1 - V V^T) with K_ij = (A - A^T)_ij / (s_i + s_j), A = U^T dW V, which is finite where
    singular values are equal; that of the decomposition is not.

    >>> orthogonal_rows(torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, -3.0]]))
    tensor([[ 1.,  0.,  0.],
            [ 0.,  0., -1.]])
    """
    u, s, vh = torch.linalg.svd(weight.detach(), full_matrices=False)
    s = s.clamp(min=SMALLEST)
    change = weight - weight.detach()  # 0, with the gradient of the weight
    inside = u.T @ change @ vh.T
    turned = (inside - inside.T) / (s[:, None] + s)
    outside = u.T @ change - inside @ vh
    rows: Tensor = u @ vh + u @ (turned @ vh + outside / s[:, None])
    return rows


def rows_alone(weight: Tensor) -> Tensor:
    """Each row of a weight (C, d) minus its mean and divided by its length, whatever the other rows are.

    >>> rows_alone(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
    tensor([[ 0.7071, -0.7071],
            [-0.7071,  0.7071]])
    """
    return normalize(weight - weight.mean(1, keepdim=True), dim=1, eps=SMALLEST)


class UnitRows(nn.Module):
    """What belongs to one modality: a weight (C, d), of which the rows are made, and a scale (C,) of the classes."""

    def __init__(self, width: int, outputs: int, rows: Rows) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.empty(outputs, width)), nn.Parameter(torch.empty(outputs))
        self.rows = rows

    def reset_parameters(self) -> None:
        """The weight uniform within 1 / sqrt(d), as that of a linear layer; every scale 0.1."""
        draw_bias(self.weight, self.weight.shape[1])
        nn.init.constant_(self.scale, SCALE)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, d) -> logits (B, C) without the scale."""
        make = orthogonal_rows if self.rows == "orthogonal" else rows_alone
        logits: Tensor = features @ make(self.weight).T
        return logits


class Scaled(dict[str, Tensor]):
    """Modality -> its share a_m * z_m (B, C) of the logits.

    alone: modality -> z_m (B, C), the logits that the scales have not multiplied.
    """

    def __init__(self, alone: Mapping[str, Tensor], scales: Mapping[str, Tensor]) -> None:
        super().__init__({m: scales[m] * z for m, z in alone.items()})
        self.alone = dict(alone)


class UnitRowsSum(Fusion):
    """z = sum_m a_m * (W_m f_m) + b, with scales a_m (C,) and rows of unit length in W_m (C, d)."""

    additive = True

    def __init__(self, modalities: list[str], width: int, outputs: int, rows: Rows) -> None:
        super().__init__()
        self.width = width
        self.slices = nn.ModuleDict({m: UnitRows(width, outputs, rows) for m in modalities})
        self.bias = nn.Parameter(torch.empty(outputs))

    def reset_parameters(self) -> None:
        """The bias as in a linear layer of one modality's width; the slices reset themselves."""
        assert self.bias is not None
        draw_bias(self.bias, self.width)

    def alone(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features (B, d) of some modalities -> the logits W_m f_m (B, C) of each without scale, in full precision."""
        with full_precision(next(iter(features.values())).device):
            return {m: self.slices[m](promoted(f)) for m, f in features.items()}

    def scales(self) -> dict[str, nn.Parameter]:
        """Modality -> its scales (C,)."""
        return {m: cast(UnitRows, part).scale for m, part in self.slices.items()}

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branch logits (B, C), `Scaled`, without the bias."""
        branches = Scaled(self.alone(features), self.scales())
        assert self.bias is not None
        return Fused(sum_of(branches) + self.bias, branches)
