"""TCMax: maximise a bound of the total correlation of modalities and labels, with all mismatched pairs as negatives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.fit import Batch, Outputs
from mcr_bench.methods.base import Method, Needs, OfficialCode, Reference
from mcr_bench.methods.terms.losses import ALL, split_of


def log_mean_exp(share: Tensor, having: Tensor | None = None) -> Tensor:
    """log of the mean over samples of exp(share), (C,), of shares (B, C) of the logits.

    having: (B,) bool, the samples over which the mean is; all where none is set.

    >>> log_mean_exp(torch.tensor([[0.0], [0.0]]))
    tensor([0.])
    """
    if having is None:
        return share.logsumexp(0) - math.log(len(share))
    kept = (having | ~having.any())[:, None]
    return share.masked_fill(~kept, -torch.inf).logsumexp(0) - kept.sum().to(share.dtype).log()


def mixed_term(shares: Mapping[str, Tensor], having: Mapping[str, Tensor] = ALL) -> Tensor:
    """log sum_c of the mean of exp(sum_m z_m[j_m, c]) over all B^M choices of one sample j_m per modality, ().

    It is exact, in O(B C M): the mean over choices of a product is the product of the modalities' means.

    shares: modality -> its share z_m (B, C) of the logits. having: modality -> (B,) bool, the samples that have it.

    >>> mixed_term({"audio": torch.zeros(3, 4), "video": torch.zeros(3, 4)}).exp().round(decimals=4)
    tensor(4.)
    """
    return torch.stack([log_mean_exp(z, having.get(m)) for m, z in shares.items()]).sum(0).logsumexp(0)


@dataclass
class TCMax(Method):
    """Minimise L = -mean_i z_i[y_i] + log sum_c mean_{j_1..j_M} exp(sum_m z_m[j_m, c]), with z = sum_m z_m.

    z_m is modality m's share of the logits of an additive fusion head. The mean is over all B^M ways to take one sample
    of the batch for each modality: the product of the marginals, from which the matched samples are distinguished. -L
    is, up to a constant, a lower bound of the total correlation of the modalities and the label. It has no settings.
    """

    name = "tcmax"
    title = "TCMax"
    group = "head-specific"
    reference = Reference("Multimodal Classification via Total Correlation Maximization", "ICLR 2026", "2602.13015")
    official_code = OfficialCode("github.com/hubaak/TCMax", "a950d9b")
    needs = Needs(additive_fusion=True, classification=True, at_least=2)
    without_neutral = "It has no settings; it equals joint training only where every batch is one sample."
    deviations = (
        "The sum over all ways to combine samples is taken by log-sum-exp per modality. Official code: exp(z - mean) "
        "of every combination, which overflows for large logits.",
        "A constant, M log B, is subtracted, so that the loss of a batch of one sample is the cross-entropy.",
        "Fusion heads that are not additive are left out; they would need B^M passes, or a sample of them.",
        "The validation part selects the epoch. Official code: the test part.",
        "Samples that lack a modality do not serve as its negatives.",
    )

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        split = split_of(outputs)
        right = promoted(outputs.logits).gather(1, batch.target[:, None]).mean()
        return {"total_correlation": mixed_term({m: promoted(z) for m, z in split.items()}, batch.having) - right}
