"""Tensors and plain values compared, and the first difference told in words."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mcr_bench.methods.base import Method

Plainly = tuple[object, ...] | object


def first_difference(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float = 0.0) -> str:
    """The first tensor that both have and that differs by more than `tolerance`, with the difference; '' if none does.

    >>> first_difference({"bias": torch.zeros(2)}, {"bias": torch.tensor([0.0, 0.5])})
    'bias differs by 5.0e-01'
    """
    for name, tensor in mine.items():
        difference = _difference(tensor, theirs.get(name, tensor))
        if not difference <= tolerance:
            return f"{name} differs by {difference:.1e}"
    return ""


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference; nan where only one is finite, infinite for other shapes, 0 for equal bits."""
    if a.shape != b.shape:
        return float("inf")
    if torch.equal(a, b) or not a.numel():
        return 0.0
    return float((a.double() - b.double()).abs().max())


class Tried(NamedTuple):
    """What came of an epoch of training, up to the first thing that was wrong; empty where nothing was.

    error: the error that it raised, in words.
    term: the first logged value that is not finite.
    gradient: the first gradient or parameter that is not finite.
    """

    error: str = ""
    term: str = ""
    gradient: str = ""

    @property
    def text(self) -> str:
        """What was wrong first."""
        return self.error or self.term or self.gradient

    def at(self, where: str) -> "Tried":
        """The same with `where` before it."""
        return Tried(*(text and where + text for text in self))


def odd_gradient(method: Method) -> str:
    """The first gradient or parameter that is not finite; '' if all are."""
    for name, parameter in method.fit.model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {name} is not finite"
        if not parameter.isfinite().all():
            return f"{name} is not finite"
    return ""


def odd_term(method: Method) -> str:
    """The first value that was logged since the last call and is not finite; '' if all are."""
    for name, value in method.fit.meters.means().items():
        if not torch.tensor(value).isfinite():
            return f"{name} is {value}"
    return ""


def plain_values(method: Method) -> dict[str, Plainly]:
    """The attributes of a method as plain values that can be compared, without those that hold models and the like.

    Attributes of parts are named with a dot.
    """
    return {name: value for name, item in vars(method).items() if name != "fit" and (value := _plain(item)) is not None}


def _plain(item: object) -> Plainly | None:
    if isinstance(item, Tensor):
        return (str(item.dtype), tuple(item.shape), tuple(item.detach().flatten().tolist()))
    if isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, nn.Module | Optimizer):
        return _plain(item.state_dict())
    if isinstance(item, Mapping):
        return _all([(str(key), value) for key, value in item.items()])
    if isinstance(item, list | tuple):
        return _all(list(enumerate(item)))
    if is_dataclass(item) and not isinstance(item, type):
        return _all([(one.name, getattr(item, one.name, None)) for one in fields(item)])
    return None


def _all(items: list[tuple[str, object]] | list[tuple[int, object]]) -> Plainly:
    return tuple((key, _plain(value)) for key, value in items)
