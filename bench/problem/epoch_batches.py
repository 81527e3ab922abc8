"""What one epoch trains on: the order of the samples, and which modality is dropped for which of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mcr_bench.bench.core import seeds


@dataclass(frozen=True)
class EpochBatches:
    """The samples of one epoch, in the order in which they are trained on; batches are cut from it in this order.

    order: (n,) int64, indices of training samples; n may differ from their number N, and samples may come again.
    dropped: modality -> (n,) bool, at which places of the order its feature is dropped; modalities that are never
        dropped may be left out.
    """

    order: Tensor
    dropped: Mapping[str, Tensor] = field(default_factory=dict)


def common_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order (N,) int64 of `count` samples in which every method trains an epoch that does not choose its own."""
    return torch.randperm(count, generator=seeds.generator(seed, "batches", epoch))
