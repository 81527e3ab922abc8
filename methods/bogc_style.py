"""BOGC-style: each dimension of a feature follows the loss whose gradient is the more certain, as heads vary."""

from dataclasses import dataclass
from functools import cached_property, partial, reduce
from operator import add
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit.returns import State
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import loss_of, multi_loss
from mcr_bench.methods.terms.objectives.sampled_heads import Spread, certainty, feature_gradients


@dataclass
class BogcStyle(Method):
    """Heads minimise CE(z, y) + sum_m CE(h_m, y); encoder m gets sum_t 2 w_t g_t at its features, t = fused and own.

    g_t is the mean over S draws of the heads of the gradient of loss t with respect to f_m, and w_t = (1 / v_t) /
    (1 / v_fused + 1 / v_own) for each dimension, with the variance v_t over the draws. A parameter of a head is drawn
    from a normal distribution around its value, with the variance spread^2 / (N h + prior): h is the running mean of
    its squared gradient, N the number of training samples. Where the two losses are equally certain, it is multi-loss.
    Reconstructed from an abstract.
    """

    draws: int = setting(8, "S, the number of draws of the heads in every step", at_least=2)
    prior: float = setting(100.0, "precision of a parameter without data", at_least=1e-6, space=Space(1, 1e4, log=True))
    spread: float = setting(
        1.0, "factor of the standard deviation of the draws; 0 = multi-loss", at_least=0, space=Space(0.1, 3, log=True)
    )
    memory: float = setting(0.95, "share of the running mean that a step keeps", at_least=0, at_most=0.9999)
    name: ClassVar[str] = "bogc-style"
    title: ClassVar[str] = "BOGC-style"
    group: ClassVar[Group] = "multi-objective"
    reference: ClassVar[Reference] = Reference(
        "In the style of the abstract of: Rethinking Multi-Modal Learning from Gradient Uncertainty (at first: "
        "BOGC-MML, Bayesian-oriented gradient calibration)",
        "arXiv 2025",
        "2505.23071",
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode(state="nothing released")
    needs: ClassVar[Needs] = Needs(own_heads=True, own_features=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"spread": 0.0}, "multi-loss", 1e-9, "gradients are means over equal draws, which rounds otherwise"),
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "A stand-in: gradients are weighted by their inverse variance. The paper makes opinions with belief and "
        "uncertainty of their precision and joins these by the reduced rule of Dempster; how is not known.",
        "The prior, the number of draws and the running mean of squared gradients are ours.",
        "Regression and several labels, with the loss of the task, are an extension.",
    )

    @property
    def heads(self) -> nn.ModuleDict:
        """The heads that are drawn: the fusion head and the own heads."""
        return nn.ModuleDict({"fusion": self.fit.model.fusion, "own_heads": self.fit.model.own_heads})

    @cached_property
    def spreads(self) -> Spread:
        """How far the heads' parameters are drawn from their values."""
        return Spread(len(self.fit.train), self.prior, self.memory)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        if torch.is_grad_enabled() and any(f.requires_grad for f in outputs.features.values()):
            self._weigh(outputs, batch)
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)

    def _weigh(self, outputs: Outputs, batch: Batch) -> None:
        """Let the backward pass give each encoder the weighted gradients at its features."""
        task, drawn = self.fit.task, self._drawn()

        def fused(heads: nn.Module, features: dict[str, Tensor]) -> Tensor:
            fusion = cast(Fusion, cast(nn.ModuleDict, heads)["fusion"])
            return task.loss(fusion(features).logits, batch.target)

        def own(heads: nn.Module, features: dict[str, Tensor]) -> Tensor:
            alone = cast(nn.ModuleDict, cast(nn.ModuleDict, heads)["own_heads"])
            logits = {m: alone[m](f) for m, f in features.items()}
            return reduce(add, (loss_of(task, z, batch.target_of(m), batch.having.get(m)) for m, z in logits.items()))

        features = {m: promoted(f) for m, f in outputs.features.items()}
        with full_precision(outputs.logits.device):
            both = [feature_gradients(self.heads, drawn, features, one) for one in (fused, own)]
        for m, f in outputs.features.items():
            weight = certainty(both[0][m], both[1][m])
            self.fit.log(f"share/{m}", weight.mean())
            calibrated = 2 * (weight * both[0][m].mean(0) + (1 - weight) * both[1][m].mean(0))
            if f.requires_grad:
                f.register_hook(partial(_instead, calibrated.to(f)))

    def _drawn(self) -> dict[str, Tensor]:
        """Name of a parameter of the heads -> S draws (S, ...) around its value."""
        return {name: self._around(name, p.detach()) for name, p in self.heads.named_parameters()}

    def _around(self, name: str, value: Tensor) -> Tensor:
        source = self.fit.generator("head", name, device=value.device)
        shape = (self.draws, *value.shape)
        noise = torch.randn(shape, generator=source, device=value.device, dtype=value.dtype)
        return value + self.spread * self.spreads.deviation(name, value) * noise

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        learned = self.heads.named_parameters()
        self.spreads.add({name: p.grad for name, p in learned if p.grad is not None})

    def state_dict(self) -> State:
        return {"squares": {name: x.cpu().clone() for name, x in self.spreads.squares.items()}}

    def load_state_dict(self, state: State) -> None:
        self.spreads.squares = dict(state["squares"])


def _instead(gradient: Tensor, _plain: Tensor) -> Tensor:
    """The weighted gradient (B, d), in place of the one that the backward pass has found."""
    return gradient
