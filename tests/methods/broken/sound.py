"""A small method without a fault, of which the broken ones are made."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.methods.base import Method, Needs, Reference


@dataclass
class Sound(Method):
    """Minimise L = CE(z, y) + 0.1 sum_m mean(f_m^2) with the features f_m of modality m."""

    name: ClassVar[str] = "sound"
    reference: ClassVar[Reference] = Reference("A method without a fault", "tests")
    without_neutral: ClassVar[str] = "its weight is fixed"
    needs: ClassVar[Needs] = Needs()

    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        return {"fused": self.fit.task.loss(outputs.logits, batch.target), "decay": self.decay(outputs, batch)}

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        """The term of the features, ()."""
        return 0.1 * torch.stack([promoted(f).square().mean() for f in outputs.features.values()]).sum()
