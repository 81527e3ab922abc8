"""AGM: scale the gradient through each modality's share of the logits towards its running relative strength."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declared import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Method, Needs, Neutral, Reference
from mcr_bench.methods.terms.attribution import agm_coefficients, attribute
from mcr_bench.methods.terms.clipping import clip_if_large
from mcr_bench.methods.terms.modulation import check_window, in_window
from mcr_bench.methods.terms.scaled import scale_gradient
from mcr_bench.methods.terms.scores import RunningScores, squared_errors, surprisals


@dataclass
class Agm(Method):
    """L = CE(sum_m z_m, y), z_m = Shapley share of the fused logits; the gradient through z_m is times kappa_m.

    s_m = mean_i -log softmax(z_m)_{i, y_i} (regression: squared error), r_m = exp((mean s - s_m) M / (M - 1)), tau_m
    likewise from the mean of s_m over all earlier steps, kappa_m = exp(alpha min(tau_m - r_m, cap)).
    """

    alpha: float = setting(
        1.0, "strength of the modulation; 0 = none", origin="AGM code", at_least=0, space=Space(0.1, 5, log=True)
    )
    cap: float = setting(0.0, "bound of tau - r; 0 = 10 for two modalities, else 7", origin="AGM code", at_least=0)
    zero_path: Literal["grad", "detach"] = setting("grad", "detach: no gradient to zero inputs", origin="AGM code")
    masked_pass: Literal["reuse", "official"] = setting("reuse", "official: features of subsets in evaluation mode")
    clip: bool = setting(True, "clip to 1 (M >= 3: 5) if a fusion weight's gradient is beyond it", origin="AGM code")
    start: int = setting(1, "first epoch of modulation", at_least=1)
    end: int = setting(0, "last epoch of modulation; 0 = the last of the run", at_least=0)
    name: ClassVar[str] = "agm"
    reference: ClassVar[Reference] = Reference(
        "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", "ICCV 2023", "2308.07686"
    )
    needs: ClassVar[Needs] = Needs(at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"alpha": 0.0, "clip": False}, "joint", 1e-9, "attribution adds the same terms in another order"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Subsets reuse the training pass' features and one zero sample per encoder; official: masked passes in "
        "evaluation mode (`masked_pass=official`, where passes that give equal features are made once).",
        "With batch norm the reused features are the training batch's in every subset; official: evaluation mode's.",
        "From five modalities on the shares come from the arcs of one random circular order per step (M(M - 1) + 1 of "
        "2^M - 1 subsets): exact for an additive head, unbiased for others; official: at most three modalities.",
        "Four or more modalities take the cap and the clip of three, the most that the official code has.",
        "Outside its window kappa is 1, and the window is the whole run by default; official: the last kappa stays.",
        "Regression scores by the squared error; official: its inverse, which turns the sign round.",
    )
    scales_gradients: ClassVar[bool] = True
    _running: RunningScores = field(default_factory=RunningScores, init=False, repr=False)

    def __post_init__(self) -> None:
        check_window(self.name, self.start, self.end)

    def forward(self, batch: Batch) -> Outputs:
        grad, official = self.zero_path == "grad", self.masked_pass == "official"
        draws = self.fit.generator("subsets")
        features, shares = attribute(
            self.fit.model, batch.inputs, draws, zero_gradient=grad, masked_in_evaluation=official
        )
        scaled = map(scale_gradient, shares.values(), self.kappas(shares, batch.target))
        return Outputs(self.fit.model, features, torch.stack(list(scaled)).sum(0), None)

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        if self.clip:
            fusion = [p for p in outputs.model.fusion.parameters() if p.ndim >= 2]
            clip_if_large(fusion, outputs.model.parameters(), 1.0 if len(outputs.features) == 2 else 5.0)

    def kappas(self, shares: dict[str, Tensor], target: Tensor) -> list[Tensor]:
        """This step's coefficients, which compare with the earlier steps only."""
        scores = (squared_errors if self.fit.task.regression else surprisals)(shares, target)
        running = self._running.before(scores, list(shares))
        if not in_window(self.fit.epoch, self.start, self.end):
            return list(torch.ones_like(scores).unbind())
        kappas = agm_coefficients(scores, running, self.alpha, self.cap or (10.0 if len(shares) == 2 else 7.0)).unbind()
        for m, kappa in zip(shares, kappas, strict=True):
            self.fit.log(f"coefficient/{m}", kappa)
        return list(kappas)

    def state_dict(self) -> dict[str, Any]:
        return self._running.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._running = RunningScores(**state)
