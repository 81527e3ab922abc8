"""Operations of a step as torch dispatches them: how many, and the largest tensor that one of them makes."""

from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):
    """Inside the block every operation is counted, forward and backward, views included.

    counts: name -> the number of calls.
    largest: the number of elements of the largest tensor that an operation returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.counts[func.__name__.partition(".")[0]] += 1
        self.largest = max([self.largest, *(x.numel() for x in tree_leaves(made) if isinstance(x, Tensor))])
        return made
