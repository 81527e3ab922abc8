"""The shared part of methods that multiply each modality's gradients, or its steps, by a coefficient of the batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method


def in_window(epoch: int, start: int, end: int) -> bool:
    """Whether `epoch`, counted from 1, lies between `start` and `end`, both included; end = 0 means the last epoch.

    >>> in_window(3, start=1, end=2), in_window(3, start=1, end=0)
    (False, True)
    """
    return start <= epoch and (end == 0 or epoch <= end)


def check_window(name: str, start: int, end: int) -> None:
    """UserError if `end` comes before `start`: the method would do nothing in any epoch."""
    if end and end < start:
        raise UserError(
            f"{name}.start={start} comes after {name}.end={end}. Set a larger end, or 0 for the last epoch of the run."
        )


@dataclass
class Windowed(Method):
    """A method that acts in the epochs from `start` to `end`, both included; in all others it is joint training."""

    start: int = setting(1, "first epoch in which the method acts", at_least=1)
    end: int = setting(0, "last epoch in which the method acts; 0 = the last of the run", at_least=0)

    def __post_init__(self) -> None:
        check_window(self.name, self.start, self.end)

    @property
    def active(self) -> bool:
        """Whether the present epoch lies between `start` and `end`."""
        return in_window(self.fit.epoch, self.start, self.end)


@dataclass
class Modulation(Windowed, ABC):
    """In every step the gradients of some parameters of modality m, or the steps that they make, are multiplied by k_m.

    A subclass says which parameters (`touches`) and computes the coefficients k_m (`coefficients`).
    """

    apply_to: Literal["grad", "lr"] = setting(
        "grad",
        "what is multiplied; grad: gradients, whose scale Adam largely cancels; lr: the optimiser's steps",
    )
    scales_gradients: ClassVar[bool] = True
    _steps: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    @abstractmethod
    def touches(self, modality: str) -> list[nn.Parameter]:
        """The parameters whose gradients or steps the modality's coefficient multiplies."""

    @abstractmethod
    def coefficients(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The coefficients (M,) of this batch, detached, in the model's order of modalities.

        Where no sample of the batch has a modality, its coefficient, and those that need it, may be nan: they are 1.
        """

    @cached_property
    def touched(self) -> dict[str, list[nn.Parameter]]:
        """Modality -> the parameters that it touches. UserError if a modality has none."""
        touched = {m: self.touches(m) for m in self.fit.model.modalities}
        for m, parameters in touched.items():
            if not parameters:
                raise UserError(
                    f"{self.name} has no parameter of '{m}' to scale, so it would have no effect there. Give '{m}' an "
                    "encoder that learns, with parameters of its own."
                )
        return touched

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        self._steps = {}
        if not self.active:
            return
        with torch.no_grad():
            coefficients = self.coefficients(outputs, batch)
            if batch.having:
                coefficients = torch.where(coefficients.isnan(), 1.0, coefficients)
        for (m, parameters), k in zip(self.touched.items(), coefficients.unbind(), strict=True):
            if self.apply_to == "grad":
                self.fit.scale(parameters, k, m)
            else:
                self.fit.log(f"coefficient/{m}", k)
                self._steps[m] = k

    def train_step(self, batch: Batch) -> None:
        if self.apply_to == "grad" or not self.active:
            super().train_step(batch)
            return
        before = {m: [p.detach().clone() for p in parameters] for m, parameters in self.touched.items()}
        super().train_step(batch)
        for m, k in self._steps.items():
            _shorten(before[m], self.touched[m], k)


@torch.no_grad()
def _shorten(before: list[Tensor], after: list[nn.Parameter], share: Tensor) -> None:
    """Move parameters back so that `share`, a tensor (), of their last step remains; with a share of 1 nothing changes.

    before: their values before the step, in the same order and shapes.
    """
    for old, new in zip(before, after, strict=True):
        new.copy_(torch.lerp(old, new, share.to(new.dtype)))
