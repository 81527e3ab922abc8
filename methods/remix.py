"""Remix: each sample trains the one modality that finds it hardest, in batches that train one modality each."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, EpochBatches, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.losses import multi_loss
from mcr_bench.methods.terms.sampling.alone import in_blocks
from mcr_bench.methods.terms.sampling.hardest import places
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class Remix(WithVariants):
    """Multi-loss training at first; then every sample trains the modality with the smallest K_m alone.

    K_m = KL(p_m || 1 / C), p_m = softmax(h_m) of the own head's logits, in a pass over the training samples before each
    epoch. The samples of one modality form a block of batches, in which the features of all others are zero:
    CE(z, y) + gamma CE(h_m, y). The blocks come in an order that is drawn. Warm-up: CE(z, y) + w sum_m CE(h_m, y).
    """

    warmup: int = setting(
        10, "epochs of multi-loss training at first; a run of no more is only that", origin="Remix code", at_least=0
    )
    warmup_weight: float = setting(
        0.5, "w, weight of the own losses in them", origin="Remix code", at_least=0, space=Space(0.1, 3, log=True)
    )
    gamma: float = setting(
        1.0, "weight of the own head's loss after them", origin="Remix code", at_least=0, space=Space(0.1, 10, log=True)
    )
    name = "remix"
    title = "Remix"
    group = "data"
    reference = Reference(
        "Improving Multimodal Learning Balance and Sufficiency through Data Remixing", "ICML 2025", "2506.11550"
    )
    official_code = OfficialCode("github.com/MatthewMaxy/Remix_ICML2025", "80898aa")
    defects = (
        Defect(
            "train.py:135-156, special_train_epoch",
            "The blocks come in the same order in every epoch, video first, so that every epoch ends on audio.",
            "No modality comes last in every epoch.",
        ),
    )
    published = "official"
    needs = Needs(own_heads=True, classification=True, at_least=2)
    neutral = (
        Neutral({"warmup": 100_000, "warmup_weight": 1.0}, "multi-loss"),
        Neutral({"warmup": 100_000, "warmup_weight": 0.0}, "joint"),
    )
    delays = (Delay("warmup", "before"),)
    deviations = (
        "Every block but the last one of an epoch is filled up with its own samples to whole batches, so that no batch "
        "has two modalities. Official code: the last batch of each block is smaller.",
        "Where modalities are equally certain, one is drawn. Official code: video.",
        "In the block of one modality the own heads of the others have gradients of 0, so that momentum moves them on. "
        "Official code: none.",
        "The divergence is that of the data's classes. Official code: of 6, which orders modalities in the same way.",
        "variant=official takes the modalities in the reverse of their order: of audio and video, video first.",
        "Of more than two modalities the least certain one is trained. Official code: two modalities.",
        "A sample trains a modality that it has. The official data has all.",
        "The validation part selects the epoch. Official code: the test part.",
    )

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        if epoch <= self.warmup:
            return None
        order, modalities = self.fit.order(), list(self.fit.model.modalities)
        chosen = places(self.fit, order)
        blocks = {m: order[chosen == place] for place, m in enumerate(modalities)}
        for m, samples in blocks.items():
            self.fit.log(f"coefficient/{m}", len(samples) / len(order))
        sequence = modalities[::-1]
        if not self.official:
            sequence.sort(key=lambda m: float(torch.rand((), generator=self.fit.generator("block", m))))
        return in_blocks({m: blocks[m] for m in sequence}, self.fit.settings.batch_size)

    def own_weight(self) -> float:
        """gamma, also in the warm-up, so that `total_loss` is the same in all epochs."""
        return self.gamma

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        weight = self.warmup_weight if self.fit.epoch <= self.warmup else self.gamma
        return multi_loss(self.fit.task, outputs, batch.target, weight, batch.having, batch.own)
