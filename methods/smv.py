"""SMV: samples are trained on again with the one modality alone that contributes little to their prediction."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mcr_bench.bench.fit import Batch, Task
from mcr_bench.bench.models.dropped import without
from mcr_bench.bench.problem.shapley import Subset, shapley_plan
from mcr_bench.bench.settings.declaration import Space, setting
from mcr_bench.methods.base import Defect, Delay, EpochBatches, Needs, Neutral, OfficialCode, Reference
from mcr_bench.methods.terms.features.passes import of_samples, presence_of
from mcr_bench.methods.terms.sampling.alone import with_copies
from mcr_bench.methods.terms.scores import mean_of_others
from mcr_bench.methods.terms.variants import WithVariants

BOUNDS = (-0.1, 0.4, 1 - 1e-6)  # values between these give three copies, two, one and none (official code)


def copies_of(values: Tensor) -> Tensor:
    """How many copies with one modality alone a sample gets, int64, by the modality's value for it, of any shape.

    >>> copies_of(torch.tensor([1.5, 1.0, 0.5, 0.0, -0.5]))
    tensor([0, 0, 1, 2, 3])
    """
    return 3 - torch.bucketize(values, torch.tensor(BOUNDS, dtype=values.dtype))


def shares_again(means: Tensor, alpha: float) -> Tensor:
    """The share of the samples that is trained on again with each modality alone, (M,), of mean values (M,).

    It is 2/3 alpha max(0, g_m - mean_{j != m} g_j) with the gaps g_m = 1 - means_m.

    >>> shares_again(torch.tensor([0.8, 0.2]), alpha=1.0)
    tensor([0.0000, 0.4000])
    """
    gaps = 1 - means
    return 2 / 3 * alpha * (gaps - mean_of_others(gaps)).clamp(min=0)


def right_shares(logits: Tensor, target: Tensor, task: Task) -> Tensor:
    """How right the prediction of each sample is, (B,): 1 or 0 of a class, the share of right labels, -loss of scores.

    >>> right_shares(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]), Task(2))
    tensor([1., 0.])
    """
    if task.regression:
        return -task.per_sample(logits, target)
    return (task.prediction(logits) == target).reshape(len(target), -1).to(logits).mean(1)


@dataclass
class Smv(WithVariants):
    """Joint training on samples of which some come again with one modality alone, the features of the others zero.

    The value phi_m of modality m for a sample is its Shapley value of v(S) = |S| if the prediction from the modalities
    S, with zeros in place of the features of others, is right, and else 0; of two modalities
    phi_a = (v(a) + v(av) - v(v)) / 2. It is computed before every epoch after the warm-up, on training samples.
    level=sample: a sample comes again with m alone once if .4 < phi_m < 1, twice if -.1 < phi_m <= .4, three times
    below. level=modality: of a drawn `share` of the samples, g_m = 1 - mean phi_m; the share
    2/3 alpha max(0, g_m - mean_{j != m} g_j) of all samples, drawn, comes again with m alone.
    With several labels v(S) is |S| times the share of right labels. In a regression it is M (e() - e(S)) / mean e(),
    with the absolute error e(S) and the mean over the samples.
    """

    level: Literal["sample", "modality"] = setting(
        "sample", "sample: copies by each sample's values; modality: copies of drawn samples by the mean values"
    )
    warmup: int = setting(
        5,
        "epochs of joint training at first; a run that is no longer is joint training",
        origin="SMV code",
        at_least=0,
        space=Space(0, 10),
    )
    share: float = setting(
        0.2, "modality: the share of the samples that is valued", origin="SMV code", at_least=0.001, at_most=1
    )
    alpha: float = setting(
        1.0,
        "modality: factor on the share that comes again; 0 = none",
        origin="SMV code",
        at_least=0,
        space=Space(0.1, 1.5),
    )
    name = "smv"
    title = "SMV"
    group = "data"
    reference = Reference(
        "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", "CVPR 2024", "2309.06255"
    )
    official_code = OfficialCode("github.com/GeWu-Lab/Valuate-and-Enhance-Multimodal-Cooperation", "7ed12b0")
    defects = (
        Defect(
            "code/modality_level.py:147, code/datasets/dataloader.py:308",
            "The samples that are valued, and those that come again, are drawn with replacement (`level=modality`).",
            "Both are subsets of the samples.",
        ),
    )
    published = "official"
    needs = Needs(at_least=2)
    neutral = (
        Neutral({"warmup": 100_000}, "joint"),
        Neutral({"level": "modality", "alpha": 0.0}, "joint"),
    )
    delays = (Delay("warmup", "before"),)
    deviations = (
        "Samples are valued without augmentation. Official code: with it.",
        "level=modality values the drawn samples alone. Official code: it values all and reads those that are drawn.",
        "Of more than two modalities values are Shapley values over all subsets, from five on over some; a modality is "
        "compared with the mean of the others. Official code: two modalities.",
        "A sample that lacks a modality does not come again with it, and does not count in its mean. The official data "
        "has none.",
        "The validation part selects the epoch. Official code: the test part.",
        "The rules for several labels and for scores are extensions. The paper defines classification.",
    )

    def epoch_batches(self, epoch: int) -> EpochBatches | None:
        if epoch <= self.warmup:
            return None
        chosen = self._by_sample() if self.level == "sample" else self._by_modality()
        for m, samples in chosen.items():
            self.fit.log(f"coefficient/{m}", len(samples) / len(self.fit.train))
        return with_copies(self.fit, chosen)

    def _by_sample(self) -> dict[str, Tensor]:
        order = torch.arange(len(self.fit.train))
        copies = copies_of(self.values(order)) * presence_of(self.fit, order)
        return {m: order.repeat_interleave(n) for m, n in zip(self.fit.model.modalities, copies, strict=True)}

    def _by_modality(self) -> dict[str, Tensor]:
        everyone = torch.arange(len(self.fit.train))
        valued = self._drawn(everyone, max(1, int(len(everyone) * self.share)), "valued")
        means = self.values(valued).sum(1) / presence_of(self.fit, valued).sum(1).clamp(min=1)
        again, shares = {}, shares_again(means, self.alpha).tolist()
        for m, share, has in zip(self.fit.model.modalities, shares, presence_of(self.fit, everyone), strict=True):
            number = int(share * int(has.sum()) + 1e-9)  # a whole number stays one, whatever the rounding
            again[m] = self._drawn(everyone[has], number, "again", m)
        return again

    def _drawn(self, samples: Tensor, number: int, *names: str) -> Tensor:
        """So many of the samples (N,), drawn; with replacement if the variant is official."""
        generator = self.fit.generator(*names)
        if self.official:
            return samples[torch.randint(max(1, len(samples)), (number,), generator=generator)]
        return samples[torch.randperm(len(samples), generator=generator)[:number]]

    def values(self, order: Tensor) -> Tensor:
        """The value of every modality for the training samples `order` (n,), (M, n) float64 on the CPU; logged."""
        modalities, task = self.fit.model.modalities, self.fit.task
        subsets, weights = shapley_plan(modalities, self.fit.generator("subsets"))
        gains = of_samples(self.fit, order, lambda batch: self.benefits(batch, subsets)).double()
        if task.regression:  # so far minus the errors, those of the prediction from nothing first
            gains = len(modalities) * (gains - gains[0]) / (-gains[0]).mean().clamp(min=1e-8)
        values = weights @ gains
        self.fit.log_each([f"value/{m}" for m in modalities], values.mean(1))
        return values

    def benefits(self, batch: Batch, subsets: list[Subset]) -> Tensor:
        """For every subset of the modalities how right the prediction from it is, times its size, (S, B).

        Of scores it is minus the error. A modality that a sample lacks does not count in the size.
        """
        model, task = self.fit.model, self.fit.task
        features, nothing = model.encode(batch.inputs), torch.zeros_like(batch.index, dtype=torch.bool)
        present = {m: batch.inputs.present.get(m, ~nothing) for m in features}
        rows = []
        for subset in subsets:
            gone = {m: ~present[m] if m in subset else ~nothing for m in features}
            right = right_shares(model.fuse(without(features, gone)).logits, batch.target, task)
            size = torch.stack([nothing, *(present[m] for m in subset)]).sum(0)
            rows.append(right if task.regression else right * size)
        return torch.stack(rows)
