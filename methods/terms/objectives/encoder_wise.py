"""The shared part of methods that combine, for each encoder, the gradients of the fused and of its own head's loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Method, Needs
from mcr_bench.methods.terms.losses import multi_loss

SMALLEST = 1e-30  # a norm below this counts as 0


def min_norm_share(fused: Tensor, own: Tensor) -> Tensor:
    """The share s (), from 0 to 1, at which s g_0 + (1 - s) g_1 of two gradients (n,) is shortest; 0 if they are equal.

    It is the closed form of MGDA for two objectives: s = (g_1 g_1 - g_0 g_1) / |g_0 - g_1|^2 (arXiv 1810.04650, eq. 5).

    >>> min_norm_share(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]))
    tensor(0.9000)
    """
    difference = own - fused
    return (own.dot(difference) / difference.dot(difference).clamp(min=SMALLEST)).clamp(0, 1)


@dataclass
class EncoderWise(Method, ABC):
    """Own heads learn from their own loss, the fusion head from the fused one, and encoder m from both of its losses.

    A subclass says how the two gradients of an encoder become one (`combine`). An own loss reaches no other encoder, so
    two backward passes give all of them: one of the fused loss, one of the sum of the own losses.
    """

    group: ClassVar[Group] = "multi-objective"
    needs: ClassVar[Needs] = Needs(own_heads=True, at_least=2)

    @abstractmethod
    def combine(self, modality: str, gradients: Tensor, sizes: list[int]) -> Tensor:
        """The gradient (n,) that the encoder of a modality gets.

        gradients: those of the fused loss and of the modality's own loss, (2, n), all parameters in one row.
        sizes: the numbers of elements of the parameters, whose sum is n.
        """

    @cached_property
    def encoders(self) -> dict[str, list[nn.Parameter]]:
        """Modality -> the parameters of its encoder."""
        return {m: self.fit.model.parameters_of(m, "encoder") for m in self.fit.model.modalities}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)

    def backward(self, losses: dict[str, Tensor]) -> None:
        fused, *own = losses.values()
        fused.backward(retain_graph=True)
        of_fused = {m: [p.grad for p in parameters] for m, parameters in self.encoders.items()}
        for parameters in self.encoders.values():
            for parameter in parameters:
                parameter.grad = None
        reduce(add, own).backward()
        reached = [self._join(m, gradients) for m, gradients in of_fused.items()]
        if not any(reached):
            raise UserError(
                f"{self.name} has no gradient of an encoder to combine, so it would have no effect. Give it encoders "
                "that learn."
            )

    def _join(self, modality: str, of_fused: list[Tensor | None]) -> bool:
        """Give an encoder the combined gradient, where it has those of its own loss; whether it has any."""
        both = [(p, g) for p, g in zip(self.encoders[modality], of_fused, strict=True) if not (g is p.grad is None)]
        if not both:
            return False
        gradients = torch.stack([_row(both), _row([(p, p.grad) for p, _ in both])])
        sizes = [p.numel() for p, _ in both]
        combined = self.combine(modality, gradients, sizes)
        self.fit.log(f"coefficient/{modality}", combined.norm() / gradients.sum(0).norm().clamp(min=SMALLEST))
        for (parameter, _), gradient in zip(both, combined.split(sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return True


def _row(gradients: list[tuple[nn.Parameter, Tensor | None]]) -> Tensor:
    """Gradients of parameters as one vector (n,), with zeros for a parameter that has none."""
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in gradients])
