"""BOGC-style: each dimension of a feature follows the loss whose gradient is the more certain, as heads vary."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Method, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.objectives.sampled_heads import (
    Spread,
    both_gradients,
    certainty,
    heads_of,
    replace_gradient,
)


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
    name = "bogc-style"
    title = "BOGC-style"
    group = "multi-objective"
    reference = Reference(
        "In the style of the abstract of: Rethinking Multi-Modal Learning from Gradient Uncertainty (at first: "
        "BOGC-MML, Bayesian-oriented gradient calibration)",
        "arXiv 2025",
        "2505.23071",
    )
    official_code = OfficialCode(state="nothing released")
    needs = Needs(own_heads=True, own_features=True, at_least=2)
    neutral = (
        Neutral({"spread": 0.0}, "multi-loss", 1e-9, "gradients are means over equal draws, which rounds otherwise"),
    )
    deviations = (
        "A stand-in: gradients are weighted by their inverse variance. The paper makes opinions with belief and "
        "uncertainty of their precision and joins these by the reduced rule of Dempster; how is not known.",
        "The prior, the number of draws and the running mean of squared gradients are ours.",
        "Regression and several labels, with the loss of the task, are an extension.",
    )

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
        model, draws = self.fit.model, {}
        for name, p in heads_of(model).named_parameters():
            source = self.fit.generator("head", name, device=p.device)
            draws[name] = self.spreads.around(name, p.detach(), self.draws, self.spread, source)
        fused, own = both_gradients(model, draws, outputs.features, batch)
        for m, f in outputs.features.items():
            weight = certainty(fused[m], own[m])
            self.fit.log(f"share/{m}", weight.mean())
            replace_gradient(f, 2 * (weight * fused[m].mean(0) + (1 - weight) * own[m].mean(0)))

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        learned = heads_of(self.fit.model).named_parameters()
        self.spreads.add({name: p.grad for name, p in learned if p.grad is not None})

    def state_dict(self) -> State:
        return {"squares": {name: x.cpu().clone() for name, x in self.spreads.squares.items()}}

    def load_state_dict(self, state: State) -> None:
        self.spreads.squares = dict(state["squares"])
