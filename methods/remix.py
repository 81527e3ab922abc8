"""Remix: each sample trains the one modality that finds it hardest, in batches that train one modality each."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Defect, Delay, EpochBatches, Group, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import of_samples, presence_of
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.sampling.alone import in_blocks
from mcr_bench.methods.terms.variants import WithVariants


def certainty(logits: Tensor) -> Tensor:
    """How far the predictions of logits (..., C) are from uniform, KL(p || 1 / C) in bits, (...).

    >>> certainty(torch.tensor([[0.0, 0.0], [99.0, 0.0]]))
    tensor([0., 1.])
    """
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p + math.log(logits.shape[-1]))).sum(-1) / math.log(2)


def hardest(certainties: Tensor, draws: Tensor) -> Tensor:
    """For each sample the place of the modality with the smallest certainty, (N,), of certainties (M, N).

    draws: (M, N), from 0 to 1; of equally certain modalities that with the largest draw is taken.

    >>> hardest(torch.tensor([[0.2, 0.5], [0.3, 0.5]]), torch.tensor([[0.1, 0.1], [0.9, 0.9]]))
    tensor([0, 1])
    """
    return torch.where(certainties == certainties.amin(0), draws, -1.0).argmax(0)


@dataclass
class Remix(WithVariants):
    """Multi-loss training at first; then every sample trains the modality with the smallest K_m alone.

    K_m = KL(p_m || 1 / C), p_m = softmax(h_m) of the own head's logits, in a pass over the training samples before each
    epoch. The samples of one modality form a block of batches, in which the features of all others are zero:
    CE(z, y) + gamma CE(h_m, y). The blocks come in an order that is drawn. Warm-up: CE(z, y) + w sum_m CE(h_m, y).
    """

    warmup: int = setting(
        10,
        "epochs of multi-loss training at first; a run that is no longer is multi-loss training",
        origin="Remix code",
        at_least=0,
    )
    warmup_weight: float = setting(
        0.5,
        "w, weight of the own heads' losses in them",
        origin="Remix code",
        at_least=0,
        space=Space(0.1, 3, log=True),
    )
    gamma: float = setting(
        1.0, "weight of the own head's loss after them", origin="Remix code", at_least=0, space=Space(0.1, 10, log=True)
    )
    name: ClassVar[str] = "remix"
    title: ClassVar[str] = "Remix"
    group: ClassVar[Group] = "data"
    reference: ClassVar[Reference] = Reference(
        "Improving Multimodal Learning Balance and Sufficiency through Data Remixing", "ICML 2025", "2506.11550"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/MatthewMaxy/Remix_ICML2025", "80898aa")
    defects: ClassVar[tuple[Defect, ...]] = (
        Defect(
            "train.py:135-156, special_train_epoch",
            "The blocks come in the same order in every epoch, video first, so that every epoch ends on audio.",
            "No modality comes last in every epoch.",
        ),
    )
    published: ClassVar[Literal["", "paper", "official"]] = "official"
    needs: ClassVar[Needs] = Needs(own_heads=True, classification=True, at_least=2)
    neutral: ClassVar[tuple[Neutral, ...]] = (
        Neutral({"warmup": 100_000, "warmup_weight": 1.0}, "multi-loss"),
        Neutral({"warmup": 100_000, "warmup_weight": 0.0}, "joint"),
    )
    delays: ClassVar[tuple[Delay, ...]] = (Delay("warmup", "before"),)
    deviations: ClassVar[tuple[str, ...]] = (
        "Every block but the last one of an epoch is filled up with its own samples to whole batches, so that no batch "
        "has two modalities. Official code: the last batch of each block is smaller.",
        "Where modalities are equally certain, one is drawn. Official code: video.",
        "In the block of one modality the own heads of the others have gradients of 0, so that momentum moves them on. "
        "Official code: none.",
        "The divergence is that of the data's classes. Official code: of 6, which does not change the order of "
        "modalities.",
        "variant=official takes the modalities in the reverse of their order: of audio and video, video first.",
        "Of more than two modalities the least certain one is trained. Official code: two modalities.",
        "A sample trains a modality that it has. The official data has all.",
        "The validation part selects the epoch. Official code: the test part.",
    )

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        if epoch <= self.warmup:
            return None
        order, modalities = self.fit.order(), list(self.fit.model.modalities)
        chosen = self.chosen(order)
        blocks = {m: order[chosen == place] for place, m in enumerate(modalities)}
        for m, samples in blocks.items():
            self.fit.log(f"coefficient/{m}", len(samples) / len(order))
        sequence = modalities[::-1]
        if not self.official:
            sequence.sort(key=lambda m: float(torch.rand((), generator=self.fit.generator("block", m))))
        return in_blocks({m: blocks[m] for m in sequence}, self.fit.settings.batch_size)

    def chosen(self, order: Tensor) -> Tensor:
        """The place of the modality that each of the training samples `order` (n,) trains, (n,) on the CPU."""
        certainties = of_samples(self.fit, order, self._certainties)
        lacking = ~presence_of(self.fit, order)
        draws = [torch.rand(len(order), generator=self.fit.generator("tie", m)) for m in self.fit.model.modalities]
        return hardest(certainties.masked_fill(lacking, math.inf), torch.stack(draws).masked_fill(lacking, -0.5))

    def _certainties(self, batch: Batch) -> Tensor:
        outputs: Outputs = self.fit.model(batch.inputs)
        return certainty(promoted(torch.stack(list(outputs.own_logits.values()))))

    def own_weight(self) -> float:
        """gamma, also in the warm-up, so that `total_loss` is the same in all epochs."""
        return self.gamma

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        weight = self.warmup_weight if self.fit.epoch <= self.warmup else self.gamma
        return multi_loss(self.fit.task, outputs, batch.target, weight, batch.having, batch.own)
