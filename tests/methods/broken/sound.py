"""Methods without a fault: a small one, of which the broken ones are made, and `SOUND`, which go other ways."""

from collections.abc import Iterable
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


class OwnRates(Method):
    """Joint training with a learning rate for each encoder."""

    reference: ClassVar[Reference] = Reference("Learning rates of their own", "tests")
    without_neutral: ClassVar[str] = "its factor is fixed"

    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        encoders = [{"params": model.encoders[m].parameters(), "modality": m} for m in model.modalities]
        known = {id(p) for p in model.encoders.parameters()}
        return [*encoders, {"params": [p for p in model.parameters() if id(p) not in known]}]


class SlowEncoders(OwnRates):
    """Joint training whose encoders learn at half the rate."""

    name: ClassVar[str] = "slow-encoders"

    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        *encoders, rest = super().parameter_groups(model)
        return [*({**group, "lr": 0.5 * self.fit.settings.optimizer.lr} for group in encoders), rest]


class SlowInsideTheStep(OwnRates):
    """Joint training whose rates are set once the gradients are known, and used at once."""

    name: ClassVar[str] = "slow-inside-the-step"

    def after_backward(self, outputs: Any, batch: Any) -> None:
        for group in self.fit.optimizer.param_groups:
            group["lr"] = 0.5 * group["base_lr"]


SOUND: Iterable[type[Method]] = (Sound, SlowEncoders)
