"""How the elements of tensors lie in memory, on which fused kernels rely."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def is_dense(x: Tensor) -> bool:
    """Whether the elements of a tensor of any shape fill one block of memory without holes or repetition.

    >>> is_dense(torch.zeros(2, 3).T), is_dense(torch.zeros(3).expand(2, 3))
    (True, False)
    """
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size != 1):
        if stride != expected:
            return x.numel() == 0
        expected *= size
    return True


def lay_out_gradients(groups: Iterable[dict[str, Any]]) -> None:
    """Give the gradients of fused parameter groups the strides of their parameters; autograd does so by itself.

    A gradient that a method has assigned may have others. The CPU's kernels would then update the wrong elements.
    """
    for group in groups:
        if not group.get("fused"):
            continue
        for p in group["params"]:
            if p.grad is not None and p.grad.stride() != p.stride() and _apart(p.grad, p):
                p.grad = torch.empty_like(p).copy_(p.grad)


def _apart(one: Tensor, other: Tensor) -> bool:
    """Whether elements lie in another order; the stride of an axis of length 1 means nothing."""
    pairs = zip(one.stride(), other.stride(), one.shape, strict=True)
    return any(a != b for a, b, size in pairs if size != 1)
