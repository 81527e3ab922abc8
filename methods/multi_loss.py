"""Multi-loss training: the fused loss and one loss per modality's own head, L = CE(z, y) + w sum_m CE(h_m, y)."""

from dataclasses import dataclass

from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, Reference
from mcr_bench.methods.terms.losses import multi_loss


@dataclass
class MultiLoss(Method):
    """Minimise L = CE(z, y) + weight sum_m CE(h_m, y), with the logits h_m of modality m's own head; z is predicted."""

    weight: float = setting(
        1.0, "weight of the own heads' losses", origin="MLB code", at_least=0, space=Space(0.01, 10, log=True)
    )
    name = "multi-loss"
    title = "Multi-loss training"
    group = "baseline"
    selections = ("table1", "primary")
    role = "reference"
    reference = Reference("Joint training with one loss per modality beside the fused one", "baseline")
    needs = Needs(own_heads=True)
    neutral = (Neutral({"weight": 0.0}, "joint"),)

    def own_weight(self) -> float:
        return self.weight

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, self.weight, batch.having, batch.own)
