"""MOO: multi-objective optimisation of the fused and the unimodal losses, by a rule of multi-task learning."""

from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.fit import Batch, Evaluation, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Delay, Method, Neutral, Reference
from mcr_bench.methods.terms.objectives import jacobian_descent as torchjd
from mcr_bench.methods.terms.objectives.encoder_wise import EncoderWise, min_norm_share
from mcr_bench.methods.terms.objectives.scalarisers import (
    Scalariser,
    Tchebycheff,
    Uncertainty,
    WeightAverage,
    filled,
    seen,
)


@dataclass
class Moo(EncoderWise):
    """Minimise the objectives L = CE(z, y) and L_m = CE(h_m, y) of every modality together, by the rule `aggregator`.

    mgda and the other aggregators make one gradient of those of L and L_m for each encoder m (two backward passes); the
    heads have the plain gradient of L + sum_m L_m. mgda: s g_0 + (1 - s) g_1, the shortest vector between the two.
    Scalarisers make one loss of the K = M + 1 losses L_k (one pass). equal: sum_k L_k. uw: sum_k (exp(-s_k) L_k +
    s_k) / 2 with learned s_k. dwa: sum_k w_k L_k, w = K softmax(rates / T), where a rate is L_k of the last epoch over
    L_k of the epoch before. stch: K mu log sum_k exp(log(L_k / r_k) / mu), with r_k the mean of L_k in the last epoch
    of a warm-up on sum_k log L_k.
    """

    aggregator: Literal["equal", "mgda", "uw", "dwa", "stch", torchjd.Aggregator, torchjd.Loss] = setting(
        "mgda",
        "how gradients or losses become one. Built in: mgda; equal, uw, dwa, stch. Of torchjd (pip install "
        "'mcr-bench[moo]'), gradients: aligned-mtl, cagrad, config, dualproj, graddrop, gradvac, imtl-g, pcgrad, "
        "upgrad; losses: geometric-mean, imtl-l, rlw",
    )
    temperature: float = setting(
        2.0, "dwa: how equal the weights are; larger is more equal", origin="DWA paper", at_least=1e-3
    )
    mu: float = setting(
        1.0,
        "stch: how far it is from the maximum of the losses; smaller is closer",
        origin="LibMTL",
        at_least=1e-3,
        space=Space(0.01, 10, log=True),
    )
    warmup: int = setting(5, "stch: epochs on the sum of log losses, the last of which gives r_k", at_least=1)
    name = "moo"
    title = "MOO"
    reference = Reference(
        "Multi-Task Learning as Multi-Objective Optimization (mgda), and the rules of TorchJD and LibMTL",
        "NeurIPS 2018",
        "1810.04650",
    )
    neutral = (Neutral({"aggregator": "equal"}, "multi-loss"),)
    delays = (Delay("warmup", "before", where=("aggregator", "stch")),)
    deviations = (
        "Gradients are combined for each encoder, as in MMPareto: L_m reaches encoder m alone. In multi-task learning "
        "all tasks share one encoder.",
        "mgda is the closed form for two objectives, with gradients of the encoders' parameters, not of features.",
    )
    _rules: dict[str, nn.Module] = field(default_factory=dict, init=False, repr=False)
    _known: Tensor | None = field(default=None, init=False, repr=False)  # (K,) losses in which a sample counts

    def __post_init__(self) -> None:
        if self.aggregator in torchjd.AGGREGATORS:
            torchjd.aggregator(self.aggregator)  # a missing library is reported before anything is trained
        else:
            self._scalariser(2)

    def _scalariser(self, count: int) -> Scalariser | None:
        """The module that makes one loss of `count` losses; None for plain sums, and where gradients are combined."""
        match self.aggregator:
            case "uw":
                return Uncertainty(count)
            case "dwa":
                return WeightAverage(count, self.temperature)
            case "stch":
                return Tchebycheff(count, self.mu, self.warmup)
            case name if name in torchjd.LOSSES:
                return torchjd.OfTorchJD(name, count)
        return None

    def build(self, model: MultimodalModel) -> None:
        if (scalariser := self._scalariser(1 + len(model.modalities))) is not None:
            model.extras["scalariser"] = scalariser

    @property
    def scalariser(self) -> Scalariser | None:
        """The part of the model that makes one loss of all; None for plain sums, and where gradients are combined."""
        extras = self.fit.model.extras
        return cast(Scalariser, extras["scalariser"]) if "scalariser" in extras else None

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        own = seen(self.fit.model.modalities, batch.having)
        self._known = None if own is None else torch.cat([torch.ones_like(own[:1]), own])
        return super().loss(outputs, batch)

    def backward(self, losses: dict[str, Tensor]) -> None:
        if self.aggregator == "equal":
            Method.backward(self, losses)
        elif (scalariser := self.scalariser) is not None:
            self._weigh(scalariser, torch.stack(list(losses.values())))
        else:
            super().backward(losses)

    def _weigh(self, scalariser: Scalariser, losses: Tensor) -> None:
        """Compute the gradients of one loss made of all, and log its slopes, which are the weights of the losses.

        TorchJD's rules get the modalities by name, so that weights that are drawn do not depend on their order.
        """
        modalities = self.fit.model.modalities
        drawn = sorted(modalities) if self.aggregator in torchjd.LOSSES else modalities
        order = [0, *(1 + modalities.index(m) for m in drawn)]
        losses.retain_grad()
        with torchjd.own_draws(self.fit, "scalariser"):
            scalariser(filled(losses, self._known)[order], self.fit.epoch).backward()
        assert losses.grad is not None
        self.fit.log_each(["weight/fused", *(f"coefficient/{m}" for m in modalities)], losses.grad)

    def combine(self, modality: str, gradients: Tensor, sizes: list[int]) -> Tensor:
        fused, own = gradients.unbind()
        if self.aggregator == "mgda":
            combined = torch.lerp(own, fused, min_norm_share(fused, own))
        else:
            with torchjd.own_draws(self.fit, modality):
                combined = self._rule(modality)(gradients)
        if self._known is None:
            return combined
        own_counts = self._known[1 + self.fit.model.modalities.index(modality)]
        return torch.where(own_counts, combined, fused)  # one objective is left where no sample has the modality

    def _rule(self, modality: str) -> nn.Module:
        """The aggregator of a modality's encoder, which remembers that encoder's gradients alone."""
        if modality not in self._rules:
            self._rules[modality] = torchjd.aggregator(self.aggregator)
        return self._rules[modality]

    def on_epoch_end(self, validation: Evaluation) -> None:
        if (scalariser := self.scalariser) is not None:
            scalariser.end_epoch(self.fit.epoch)

    def state_dict(self) -> State:
        return {m: torchjd.state_of(rule) for m, rule in self._rules.items()}

    def load_state_dict(self, state: State) -> None:
        for m, one in state.items():
            torchjd.restore(self._rule(m), one)
