"""How a loss on held-out samples changes with a weight inside the loss that is trained."""

from collections.abc import Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def slope_of_weight(outer: Tensor, inner: Tensor, slope: Tensor, at: Tensors, rate: float, products: int) -> Tensor:
    """The slope () of the outer loss () in a weight of the inner loss (), after gradient descent on the inner one.

    It is that after `products` + 1 steps of length `rate`, divided by `rate`, with both gradients and the Hessian H of
    the inner loss at the present weights: -<grad slope, sum_{q=0}^{products} (I - rate H)^q grad outer>. Of H products
    with vectors are computed alone. For one step it is exact.

    slope: (), the derivative of the inner loss in the weight. at: the parameters that the inner loss trains.

    >>> w = torch.tensor(3.0, requires_grad=True)  # one step: w - rate (w - a), of which the slope in a is `rate`
    >>> slope_of_weight(5 * w, w**2 / 2, -w, [w], rate=0.1, products=0)
    tensor(5.)
    """
    vector = torch.autograd.grad(outer, at, retain_graph=True, materialize_grads=True)
    total = vector
    for _ in range(products):
        turned = product_with_hessian(inner, vector, at, at)
        vector = tuple(v - rate * h for v, h in zip(vector, turned, strict=True))
        total = tuple(t + v for t, v in zip(total, vector, strict=True))
    directions = torch.autograd.grad(slope, at, retain_graph=True, materialize_grads=True)
    return -torch.stack([(d * t).sum() for d, t in zip(directions, total, strict=True)]).sum()


def product_with_hessian(loss: Tensor, vector: Tensors, at: Tensors, rows: Tensors) -> tuple[Tensor, ...]:
    """The rows of a loss's Hessian that belong to some parameters, times a vector: a tensor for each of `rows`.

    loss: (). vector: one tensor for each parameter in `at`, in its shape. rows: parameters among `at`.

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> product_with_hessian((w**3).sum(), [torch.tensor([1.0, 1.0])], [w], [w])
    (tensor([ 6., 12.]),)
    """
    gradients = torch.autograd.grad(loss, at, create_graph=True, materialize_grads=True)
    curved = [(g, v) for g, v in zip(gradients, vector, strict=True) if g.requires_grad]
    if not curved:
        return tuple(torch.zeros_like(p) for p in rows)
    outputs, weights = zip(*curved, strict=True)
    return torch.autograd.grad(outputs, rows, weights, retain_graph=True, materialize_grads=True)
