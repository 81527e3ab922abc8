"""Prototypes that no data are needed for: the vertices of a simplex, all equally far from each other."""

import math

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import full_precision
from mcr_bench.bench.errors import UserError


def simplex_vertices(classes: int, width: int, generator: torch.Generator) -> Tensor:
    """A simplex equiangular tight frame (C, d) in a drawn direction, float64 on the CPU.

    Vertices have length 1, sum to 0, and the cosine of any two is -1 / (C - 1). classes: C. width: d, at least C - 1;
    ValueError otherwise. generator: draws on the CPU.

    >>> v = simplex_vertices(3, 8, torch.Generator().manual_seed(0))
    >>> torch.round(v @ v.T, decimals=6)
    tensor([[ 1.0000, -0.5000, -0.5000],
            [-0.5000,  1.0000, -0.5000],
            [-0.5000, -0.5000,  1.0000]], dtype=torch.float64)
    """
    if width < classes - 1:
        raise ValueError(f"{classes} vertices need {classes - 1} dimensions, not {width}")
    drawn = torch.randn(width, classes - 1, generator=generator, dtype=torch.float64)
    directions: Tensor = torch.linalg.qr(drawn).Q
    return _centred_basis(classes) @ directions.T * math.sqrt(classes / max(1, classes - 1))


def require_width(name: str, classes: int, width: int) -> None:
    """UserError, which names the method, if features of `width` dimensions cannot hold the vertices of all classes."""
    if width < classes - 1:
        raise UserError(
            f"{name} needs features of {classes - 1} dimensions for {classes} classes, but model.width={width}. Set "
            f"model.width={classes - 1} or more."
        )


def _centred_basis(size: int) -> Tensor:
    """(C, C - 1), columns of length 1 that are orthogonal to each other and to the vector of ones (Helmert's)."""
    basis = torch.zeros(size, size - 1, dtype=torch.float64)
    for k in range(1, size):
        basis[:k, k - 1], basis[k, k - 1] = 1, -k
        basis[:, k - 1] /= math.sqrt(k * (k + 1))
    return basis


def placed(vertices: Tensor, features: Tensor, having: Tensor) -> Tensor:
    """The vertices (C, d) moved to the centre of the features, at their mean distance from it.

    vertices: (C, d) around 0. features: (M, N, d). having: (M, N), 1 where a sample has the modality, otherwise 0.

    >>> features = torch.tensor([[[1.0, 0.0], [5.0, 0.0]]])
    >>> placed(torch.tensor([[0.0, 1.0]]), features, torch.ones(1, 2))
    tensor([[3., 2.]])
    """
    with full_precision(features.device):
        count = having.sum().clamp(min=1)
        centre = (features * having[..., None]).sum((0, 1)) / count
        radius = ((features - centre).norm(dim=-1) * having).sum() / count
        moved: Tensor = centre + radius * vertices.to(features)
    return moved
