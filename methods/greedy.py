"""Greedy: gates between two encoders, and steps in which the modality that learns slower is taught without them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs, State
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.gating.gates import Gates, Scales, StageGates, learning_speed
from mcr_bench.methods.terms.gating.stagewise import stage_channels, stagewise
from mcr_bench.methods.terms.losses import loss_of, split_of
from mcr_bench.methods.terms.variants import WithVariants

MOST = 3  # stages with gates, as in the official code
CODE = "src/balanced_mmtm.py"
Opening = Callable[[int, Gates, Scales], Scales]


def slower(totals: Tensor, eps: float) -> Tensor:
    """Which of two modalities relies too much on the other one, (2,) bool; neither if they differ by eps at most.

    totals: (2, 2), for each modality mu of the gates that concern it and mu of its own parameters, over all steps. It
    is the one with the larger log10(mu_gates / mu_own), if d, the difference of the two, exceeds eps.

    >>> slower(torch.tensor([[0.2, 1.0], [0.1, 1.0]]), eps=0.01)
    tensor([ True, False])
    """
    ratio = torch.log10(totals[:, 0]) - torch.log10(totals[:, 1])
    difference = ratio[0] - ratio[1]
    return torch.stack([difference, -difference]) > eps


def stage_gates(model: MultimodalModel) -> StageGates:
    """The gates that `build` has put into the model."""
    gates = model.extras["gates"]
    assert isinstance(gates, StageGates)
    return gates


def encoded(model: MultimodalModel, inputs: Inputs, opening: Opening) -> Scales:
    """Features (B, d) of both modalities, whose stages are multiplied by what `opening` gives.

    opening: (place, the gates there, pooled stages (B, K_m)) -> factors (B, K_m).
    """
    gates = stage_gates(model)
    of_places = list(gates)
    runs = {m: stagewise(net, inputs.values[m], inputs.lengths.get(m)) for m, net in model.encoders.items()}
    features = gates.encode(runs, lambda place, pooled: opening(place, of_places[place], pooled))
    for made in features.values():
        for watcher in model.watchers:  # they count the passes of encoders
            watcher(made)
    return features


@dataclass
class Greedy(WithVariants):
    """Minimise sum_m CE(h_m, y) of two branches m, z = mean_m h_m, h_m = M W_m f_m + b of a late-linear head.

    After each of the last three stages gates g_m = 2 sigmoid(E_m relu(sum_j S_j s_j)) multiply the channels of modality
    m's stage; s_m is its mean over space and time. In every step mu_m of a group of parameters grows by
    ||gradient||^2 / ||parameters||^2: mu_m^own of encoder m and W_m, mu_m^gates of E_m and all S_j. If
    d = log10(mu_a^gates / mu_a^own) - log10(mu_v^gates / mu_v^own) differs from 0 by more than eps, then in the next
    `steps` steps, over which mu does not grow, the gates of a (d > 0) or v (d < 0) are their means over all steps.
    """

    eps: float = setting(
        0.01,
        "difference d of the learning speeds from which steps follow that rebalance",
        origin="greedy code",
        at_least=0,
        space=Space(1e-3, 1, log=True),
    )
    steps: int = setting(
        5,
        "number Q of steps that rebalance; 0 = none, joint training of the same gated net",
        origin="greedy code",
        at_least=0,
        space=Space(1, 20),
    )
    start: int = setting(2, "first epoch in which they may follow", origin="greedy code", at_least=1)
    name = "greedy"
    title = "Greedy"
    group = "architecture"
    reference = Reference(
        "Characterizing and Overcoming the Greedy Nature of Learning in Multi-modal Deep Neural Networks",
        "ICML 2022",
        "2202.05306",
    )
    official_code = OfficialCode("github.com/nyukat/greedy_multimodal_learning", "a190e03")
    defects = (
        Defect(
            f"{CODE}:114",
            "The mean gates of the second modality are those of the first one.",
            "Gates are replaced by the mean of the same gates.",
        ),
    )
    published = "official"
    needs = Needs(additive_fusion=True, own_features=True, at_least=2, at_most=2)
    without_neutral = "No simpler method has the gates; steps=0 is joint training of the same net."
    deviations = (
        "Gates come after the last three stages that both encoders have (mlp, conv1d, conv2d, resnet18); any other "
        "encoder has one stage, its features. Official code: after stages 2 to 4 of two ResNet-18.",
        "Gates are twice a sigmoid, as in MMTM, and start at 1, so that all methods start from the same logits. "
        "Official code: a sigmoid of layers with the usual initial weights.",
        "The branches share a bias, which no mu counts, and their weights are M W_m. Official code: two linear layers.",
        "Mean gates are those of training. Official code: of all passes, validation and test too.",
        "A batch of which no sample has a modality leaves its mean gates as they were.",
        "In a regression, and with several labels, the loss of a branch is that of the task, an extension.",
    )
    _totals: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (2, 2), mu
    _left: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (), steps to rebalance
    _curated: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (2,) bool, whose gates
    _seen: Tensor = field(default_factory=lambda: torch.empty(0), init=False, repr=False)  # (2,), steps in the means
    _means: list[list[Tensor]] = field(default_factory=list, init=False, repr=False)  # of each place and modality, (K,)

    def build(self, model: MultimodalModel) -> None:
        gates = StageGates({m: stage_channels(net, model.width) for m, net in model.encoders.items()}, MOST)
        if self.official and any(len(set(size.values())) > 1 for size in gates.sizes):
            raise UserError(
                f"{self.name}.variant=official replaces the gates of one modality by those of the other, so that their "
                f"stages need equally many channels, not {gates.sizes}. Give both encoders one width, or use "
                "variant=paper."
            )
        model.extras["gates"] = gates

    def on_fit_start(self) -> None:
        device = self.fit.device
        self._totals = torch.zeros(2, 2, device=device)
        self._left = torch.zeros((), dtype=torch.int64, device=device)
        self._curated = torch.zeros(2, dtype=torch.bool, device=device)
        self._seen = torch.zeros(2, dtype=torch.int64, device=device)
        like = promoted(next(self.fit.model.fusion.parameters()).detach())
        sizes = stage_gates(self.fit.model).sizes
        self._means = [[like.new_zeros(size[m]) for m in self.fit.model.modalities] for size in sizes]

    def forward(self, batch: Batch) -> Outputs:
        model, having = self.fit.model, batch.having
        features = encoded(
            model, batch.inputs, lambda place, gate, pooled: self._replaced(place, gate(pooled, having), having)
        )
        return model.fuse(model.drop(features, batch.dropped) if batch.dropped else features)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return model.fuse(encoded(model, inputs, lambda _, gate, pooled: gate(pooled, inputs.present)))

    def _replaced(self, place: int, scales: Scales, having: Mapping[str, Tensor]) -> Scales:
        """The gates of one place, (B, K_m) each; those of a modality that is rebalanced are the mean gates."""
        names, means = list(scales), self._means[place]
        self._average(place, scales, having)
        return {
            m: torch.where(self._curated[names.index(m)], means[names.index(m)].to(g).expand_as(g), g)
            for m, g in scales.items()
        }

    @torch.no_grad()
    def _average(self, place: int, scales: Scales, having: Mapping[str, Tensor]) -> None:
        """Take the gates of one place into their means over all steps."""
        everywhere = torch.ones_like(next(iter(scales.values()))[:, 0], dtype=torch.bool)
        kept = {m: having.get(m, everywhere) for m in scales}
        if place == 0:
            self._seen = self._seen + torch.stack([samples.any() for samples in kept.values()])
        for i, (m, samples) in enumerate(kept.items()):
            gates = promoted(next(iter(scales.values())) if self.official else scales[m])
            mean = (gates * samples[:, None]).sum(0) / samples.sum().clamp(min=1)
            share = torch.where(samples.any(), 1 / self._seen[i].clamp(min=1).to(mean), 0.0)
            self._means[place][i] = torch.lerp(self._means[place][i], mean, share)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        split = split_of(outputs)
        branches = {m: len(split) * share for m, share in split.items()}
        return {
            f"branch/{m}": loss_of(self.fit.task, h, batch.target, batch.having.get(m)) for m, h in branches.items()
        }

    def after_backward(self, outputs: Outputs, batch: Batch) -> None:
        """Compare the learning speeds after a step without rebalancing, and count down those with it."""
        usual = self._left == 0
        self.fit.log_each([f"rebalanced/{m}" for m in outputs.features], self._curated.float())
        speeds = torch.stack([torch.stack(self._speeds(m)) for m in outputs.features])
        self._totals = self._totals + torch.where(usual, promoted(speeds), 0.0)
        chosen = slower(self._totals, self.eps)
        begins = usual & chosen.any() & (self.fit.epoch >= self.start and self.steps > 0)
        self._left = torch.where(begins, self.steps, (self._left - 1).clamp(min=0))
        self._curated = torch.where(begins, chosen, self._curated & (self._left > 0))

    def _speeds(self, modality: str) -> list[Tensor]:
        """Of the gates that concern the modality, and of its own parameters, ()."""
        model = self.fit.model
        gates = [p for gate in stage_gates(model) for p in (gate.squeeze, gate.excite[modality])]
        concern = [p for part in gates for p in part.parameters()]
        own = [p for p in model.parameters_of(modality, "encoder", "fusion_slice") if p.requires_grad]
        return [learning_speed(concern), learning_speed(own)]

    def state_dict(self) -> State:
        counts = {"totals": self._totals, "left": self._left, "curated": self._curated, "seen": self._seen}
        return {**counts, "means": [list(of) for of in self._means]}

    def load_state_dict(self, state: State) -> None:
        device = self.fit.device
        self._totals, self._left = state["totals"].to(device), state["left"].to(device)
        self._curated, self._seen = state["curated"].to(device), state["seen"].to(device)
        self._means = [[x.to(device) for x in of] for of in state["means"]]
