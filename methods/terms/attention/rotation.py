"""Turning the query of an attention head towards a balanced place between the keys of two modalities."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.models.fusions.class_token import ClassToken, Looked


def imbalance(query: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """cos(q, k_1) - cos(q, k_2) of each sample, (B,): by how much more a query (B, d) looks at one of two keys (B, d).

    >>> imbalance(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([1.])
    """
    return cosine_similarity(query, first) - cosine_similarity(query, second)


def anchor(first: Tensor, second: Tensor, air: Tensor, sigma: float) -> Tensor:
    """The direction (d,) of length 1 between two mean keys (d,): alpha k_1 / |k_1| + (1 - alpha) k_2 / |k_2|.

    alpha = (1 + tanh(-sigma air)) / 2, less than one half where attention falls more on the first one.

    >>> anchor(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.5]), torch.tensor(0.7), sigma=0.0)
    tensor([0.7071, 0.7071])
    """
    alpha = (1 - torch.tanh(sigma * air)) / 2
    return normalize(alpha * normalize(first, dim=0) + (1 - alpha) * normalize(second, dim=0), dim=0)


def rotation_between(start: Tensor, end: Tensor) -> Tensor:
    """The rotation (d, d) that takes the direction of one vector (d,) to that of another, d >= 2.

    It turns the plane of the two and leaves what is orthogonal to both: two reflections, 2 w w^T - 1 after
    2 u u^T - 1, with w half-way between them. For opposite directions the plane is that with the axis which is most
    orthogonal to them.

    >>> rotation_between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 5.0])).round(decimals=4) + 0.0
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    u, v = normalize(start, dim=0), normalize(end, dim=0)
    middle, one = u + v, torch.eye(len(u), dtype=u.dtype, device=u.device)
    aside = one[u.abs().argmin()]
    opposite = middle.norm() < 1e3 * torch.finfo(u.dtype).eps
    w = normalize(torch.where(opposite, aside - u.dot(aside) * u, middle), dim=0)
    return (2 * torch.outer(w, w) - one) @ (2 * torch.outer(u, u) - one)


class Turn(nn.Module):
    """Queries (B, d) turned by a rotation, which is not learned and is a part of the model: q -> R q.

    rotation: R (d, d), the identity at first.
    times: (), how often it has been turned further.
    """

    rotation: Tensor
    times: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rotation", torch.eye(width))
        self.register_buffer("times", torch.zeros((), dtype=torch.int64))

    def forward(self, query: Tensor) -> Tensor:
        """Queries (B, d) -> queries (B, d)."""
        return query @ self.rotation.T.to(query)

    @torch.no_grad()
    def further(self, rotation: Tensor) -> None:
        """Turn what is already turned by another rotation (d, d)."""
        self.rotation.copy_(rotation.to(self.rotation) @ self.rotation)
        self.times.add_(1)


def seen_by(head: ClassToken, looked: Looked) -> tuple[Tensor, Tensor, Tensor]:
    """The query and the mean keys of the head's two modalities, (B, d) each, without gradient and in full precision."""
    keys = looked.mean_keys()
    first, second = (promoted(keys[m].detach()) for m in head.names)
    return promoted(looked.query.detach()), first, second
