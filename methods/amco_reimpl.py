"""AMCo-reimpl: logits of the modality that dominates are masked at random, more and more as training goes on."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Inputs, MultimodalModel, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.fusing import summed
from mcr_bench.methods.terms.losses import multi_loss, stacked
from mcr_bench.methods.terms.variants import WithVariants

CODE = "BalanceBenchmark balancemm/trainer/AMCo_trainer.py"


def masked_share(progress: float, ramp: float) -> float:
    """The share p of the logits that is masked, sin(pi / 2 min(ramp, l) / ramp), of the progress l of training.

    >>> masked_share(0.0, 0.3), round(masked_share(0.1, 0.3), 4), masked_share(0.7, 0.3)
    (0.0, 0.5, 1.0)
    """
    return math.sin(math.pi / 2 * min(ramp, progress) / ramp)


def dominance(logits: Tensor, having: Tensor | None = None) -> Tensor:
    """The share of each modality, (M,), in the softmax over the logits of all modalities, as a mean over samples.

    logits: (M, B, C). having: (M, B) bool, the samples that have each modality, if some lack one; a modality that a
    sample lacks has no share there, and samples with one modality alone, which dominates nobody, do not count.

    >>> dominance(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]))
    tensor([0.3333, 0.3333, 0.3333])
    """
    kept = logits if having is None else logits.masked_fill(~having[..., None], torch.finfo(logits.dtype).min)
    shares: Tensor = kept.movedim(0, 1).flatten(1).softmax(1).unflatten(1, (len(logits), -1)).sum(2)
    if having is None:
        mean = shares.mean(0)
    else:
        compared = having.sum(0) > 1
        mean = torch.where(compared[:, None], shares, 0.0).sum(0) / compared.sum().clamp(min=1)
    return mean.clamp(max=1)  # the sum of a softmax may round to more


def kept_places(rows: int, classes: int, masked: int, generator: torch.Generator) -> Tensor:
    """(rows, C), 0 at `masked` drawn places of each row and 1 elsewhere, on the device of the generator.

    >>> kept_places(2, 5, 3, torch.Generator()).sum(1)
    tensor([2., 2.])
    """
    order = torch.rand(rows, classes, generator=generator, device=generator.device).argsort(1)
    return (order.argsort(1) >= masked).float()


@dataclass
class AmcoReimpl(WithVariants):
    """Minimise CE(z, y) + sum_m CE(h_m, y) with z = sum_m h_m of the own heads' logits, of which some are masked.

    A modality dominates a batch where its share in softmax([h_1, ..., h_M]), summed over classes and as a mean over
    samples, exceeds `sigma`. Of its logits N = floor(p C) of each sample, drawn anew in every step, are 0 in z and in
    its own loss; p = sin(pi / 2 min(eps, l) / eps) grows with the share l of the run's epochs that are over.
    """

    sigma: float = setting(
        0.5,
        "share in the softmax above which a modality dominates; 1 = none ever does",
        origin="BalanceBenchmark",
        at_least=0,
        at_most=1,
        space=Space(0.3, 1),
    )
    eps: float = setting(
        0.3,
        "progress l of training from which on all logits of a modality that dominates are masked",
        origin="BalanceBenchmark",
        at_least=0.01,
        space=Space(0.1, 5, log=True),
    )
    name = "amco-reimpl"
    title = "AMCo-reimpl"
    group = "modulation"
    reference = Reference("Adaptive Mask Co-optimization for Modal Dependence in Multimodal Learning", "ICASSP 2023")
    official_code = OfficialCode(commit="4c1482f", state="read in someone else's code only")
    defects = (
        Defect(
            f"{CODE}:64-83",
            "The progress is 0 at the start of every epoch and grows by a tenth of the epoch's number, from 0, in "
            "every step: nothing is masked in the first epoch, and everything after a few steps of each later one.",
            "The share of masked logits grows with training.",
        ),
        Defect(
            f"{CODE}:75-82",
            "One mask is drawn for all samples of a batch.",
            "Logits of each sample are masked at random.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    predicts_otherwise = "logits are masked in training only"
    without_neutral = "No simpler method trains the sum of the own heads together with each of them."
    deviations = (
        "The paper could not be read: the rule is that of BalanceBenchmark, and results do not stand for the paper's.",
        "The progress l is the share of the run's epochs that are over (our reading of a share that grows).",
        "The modality that dominates is that of the same batch, before masking. BalanceBenchmark: that of the batch "
        "before, after masking, and none in the first one of an epoch.",
        "Logits are those of own heads. BalanceBenchmark: shares of a linear fusion head.",
        "z is the sum of the logits. BalanceBenchmark: a further linear layer over it.",
        "The masks act in all epochs. BalanceBenchmark: in epochs 0 to 80, and joint training afterwards.",
        "Samples that have one modality alone do not say which one dominates.",
    )
    _first: int = field(default=1, init=False, repr=False)  # the first step of the present epoch

    def on_epoch_start(self) -> None:
        self._first = self.fit.step + 1

    @property
    def share(self) -> float:
        """The share p of the logits that is masked in the present step."""
        passed = max(1, self.fit.epoch) - 1
        if self.official:
            return masked_share(max(0, self.fit.step - self._first) * passed / 10, self.eps)
        return masked_share(passed / max(1, self.fit.settings.epochs), self.eps)

    def forward(self, batch: Batch) -> Outputs:
        outputs = super().forward(batch)
        masked = self.masked(outputs.own_logits, batch)
        made = summed(outputs, masked, batch.having)
        made.own_logits = masked
        return made

    def masked(self, own: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Modality -> its logits (B, C), of which those of a modality that dominates are partly 0."""
        share = self.share
        count = int(share * self.fit.task.outputs)
        self.fit.log("masked", share)
        if not count:
            return own
        logits = promoted(torch.stack(list(own.values())).detach())
        shares = dominance(logits, stacked(list(own), batch.having))
        self.fit.log_each([f"dominance/{m}" for m in own], shares)
        ahead = dict(zip(own, (shares > self.sigma).unbind(), strict=True))
        return {m: torch.where(ahead[m], z * self._kept(m, z, count), z) for m, z in own.items()}

    def _kept(self, modality: str, logits: Tensor, count: int) -> Tensor:
        """(B, C), or (1, C) for one mask of the batch."""
        source = self.fit.generator("mask", modality, device=logits.device)
        return kept_places(1 if self.official else len(logits), logits.shape[1], count, source).to(logits)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        return multi_loss(self.fit.task, outputs, batch.target, having=batch.having, own=batch.own)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        outputs = super().predict(model, inputs)
        return summed(outputs, outputs.own_logits, inputs.present)
