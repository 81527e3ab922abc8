"""AGM: adaptive gradient modulation, which scales the gradient through each modality's share of the logits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.attribution import agm_coefficients, attributed
from mcr_bench.methods.terms.clipping import clip_if_large
from mcr_bench.methods.terms.modulation import Windowed
from mcr_bench.methods.terms.scaled import scale_gradient
from mcr_bench.methods.terms.scores import RunningScores, squared_errors, surprisals
from mcr_bench.methods.terms.zeros import Zeros, steady, zero_graph


@dataclass
class Agm(Windowed):
    """Minimise L = CE(sum_m z_m, y), where z_m is modality m's Shapley value of the fused logits.

    The gradient through z_m is multiplied by kappa_m = exp(alpha min(tau_m - r_m, cap)), with
    s_m = mean_i -log softmax(z_m)_{i, y_i} (in a regression the mean squared error) and
    r_m = exp((mean_j s_j - s_m) M / (M - 1)); tau_m is computed like r_m from the means of s_m over all earlier steps.
    A modality that is relatively stronger in this step than it was on average gets a smaller gradient.
    """

    alpha: float = setting(
        1.0, "strength of the modulation; 0 = none", origin="AGM code", at_least=0, space=Space(0.1, 5, log=True)
    )
    cap: float = setting(
        0.0, "largest value of tau - r; 0 = 10 for two modalities, 7 for more", origin="AGM code", at_least=0
    )
    zero_path: Literal["grad", "detach"] = setting(
        "grad", "gradient through the passes on zero inputs; grad: it flows; detach: it does not", origin="AGM code"
    )
    masked_pass: Literal["reuse", "official"] = setting(
        "reuse",
        "features of subsets of the modalities; reuse: those of the training pass; official: those of another pass in "
        "evaluation mode",
    )
    clip: bool = setting(
        True,
        "if a gradient of a fusion weight is larger than 1 (three and more modalities: 5), clip the norm of all "
        "gradients to that value",
        origin="AGM code",
    )
    name: ClassVar[str] = "agm"
    title: ClassVar[str] = "AGM"
    group: ClassVar[Group] = "modulation"
    selections: ClassVar[tuple[str, ...]] = ("table1", "primary")
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/lihong2303/AGM_ICCV2023")
    reference: ClassVar[Reference] = Reference(
        "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", "ICCV 2023", "2308.07686"
    )
    needs: ClassVar[Needs] = Needs(own_features=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"alpha": 0.0, "clip": False}, "joint", 1e-9, "attribution adds the same terms in another order"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Subsets use the features of the training pass, and one encoded sample of zeros per encoder. Official code: "
        "masked passes in evaluation mode (`masked_pass=official` does this, but makes equal passes only once).",
        "With batch norm, the features of every subset are normalised with the training batch's statistics. Official "
        "code: with those of evaluation mode.",
        "The shares of an additive head are computed from its branches, which is exact for any number of modalities. "
        "Those of another head, with five or more modalities, come from the arcs of one random circular order per "
        "step: M(M - 1) + 1 of the 2^M - 1 subsets, which is unbiased. Official code: all subsets of at most three "
        "modalities.",
        "Four or more modalities have the cap and the clipping of three modalities, the most in the official code.",
        "Outside the epochs `start` to `end` kappa is 1; by default these are all epochs. Official code: kappa keeps "
        "its last value.",
        "In a regression the score is the squared error. Official code: its inverse, which reverses the modulation.",
        "With several labels the score is the binary cross-entropy, averaged over labels, an extension.",
    )
    scales_gradients: ClassVar[bool] = True
    _running: RunningScores = field(default_factory=RunningScores, init=False, repr=False)
    _graph: Zeros | None = field(default=None, init=False, repr=False)
    _having: Mapping[str, Tensor] = field(default_factory=dict, init=False, repr=False)  # as of the present batch

    def on_fit_start(self) -> None:
        encoders, padded = self.fit.model.encoders, self.fit.train.lengths
        self._graph = zero_graph(self.fit, [m for m in encoders if m not in padded and not steady(encoders[m])])

    def forward(self, batch: Batch) -> Outputs:
        grad, official = self.zero_path == "grad", self.masked_pass == "official"
        draws, self._having = self.fit.generator("subsets"), batch.having
        features, shares = attributed(
            self.fit.model,
            batch.inputs,
            draws,
            zero_gradient=grad,
            masked_in_evaluation=official,
            joined=self._steady,
            graph=self._graph,
            dropped=batch.dropped,
        )
        by_modality = dict(zip(self.fit.model.modalities, shares.detach().unbind(), strict=True))
        kappas = torch.stack(self.kappas(by_modality, batch.target))
        scaled = scale_gradient(shares, kappas[:, None, None])
        return Outputs(self.fit.model, features, scaled.sum(0), None)

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        if self.clip:
            clip_if_large(*self._clipped, 1.0 if len(outputs.features) == 2 else 5.0)

    @cached_property
    def _steady(self) -> frozenset[str]:
        """The modalities whose encoders do the same in training and evaluation mode."""
        return frozenset(m for m, encoder in self.fit.model.encoders.items() if steady(encoder))

    @cached_property
    def _clipped(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The weights of the fusion head, and all parameters."""
        model = self.fit.model
        return [p for p in model.fusion.parameters() if p.ndim >= 2], list(model.parameters())

    def kappas(self, shares: dict[str, Tensor], target: Tensor) -> list[Tensor]:
        """Every modality's coefficient () for this step, from the shares (B, C), the target and earlier steps."""
        task, having = self.fit.task, self._having
        scores = squared_errors(shares, target, having) if task.regression else surprisals(shares, target, task, having)
        running = self._running.before(scores, list(shares), having)
        if not self.active:
            return list(torch.ones_like(scores).unbind())
        cap = self.cap or (10.0 if len(shares) == 2 else 7.0)
        partial = bool(having) or self._running.partial  # a modality may have been dropped in all earlier steps
        kappas = agm_coefficients(scores, running, self.alpha, cap, partial)
        self.fit.log_each([f"coefficient/{m}" for m in shares], kappas)
        return list(kappas.unbind())

    def state_dict(self) -> State:
        return self._running.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._running = RunningScores(**state)
