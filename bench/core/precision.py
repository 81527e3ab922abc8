"""Full precision for what is sensitive, whatever autocast says outside."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A block in which autocast changes no type on `device`; give it tensors that are `promoted`.

    >>> with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.float32
    """
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):  # `meta` knows no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def promoted(x: Tensor) -> Tensor:
    """A tensor of any shape in float32 if its type has fewer bits, and as it is otherwise.

    >>> promoted(torch.ones(1, dtype=torch.bfloat16)).dtype, promoted(torch.ones(1, dtype=torch.float64)).dtype
    (torch.float32, torch.float64)
    """
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
