"""Gates between the stages of two encoders, squeeze and excitation over both (MMTM), and how fast parameters learn."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.methods.terms.gating.stagewise import Steps, after

RATIO = 4  # of channels to units between squeeze and excitation, as in the MMTM code, which takes twice their share
Scales = dict[str, Tensor]


class Excitation(nn.Linear):
    """A linear layer that starts at 0, with which gates start at 1: a net with gates is at first the net without."""

    def reset_parameters(self) -> None:
        """Zeros."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


class Gates(nn.Module):
    """g_m = 2 sigmoid(E_m relu(sum_j S_j s_j)) of the pooled stages s_m (B, K_m) of all modalities (arXiv 1911.08670).

    channels: modality -> the number K_m of channels of its stage.
    """

    def __init__(self, channels: Mapping[str, int]) -> None:
        super().__init__()
        units = max(1, 2 * sum(channels.values()) // RATIO)
        self.squeeze = nn.ModuleDict({m: nn.Linear(size, units) for m, size in channels.items()})
        self.excite = nn.ModuleDict({m: Excitation(units, size) for m, size in channels.items()})

    def forward(self, pooled: Mapping[str, Tensor], having: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stages (B, K_m) -> gates (B, K_m) between 0 and 2.

        having: modality -> (B,) bool, the samples that have it, if some lack it; what a sample lacks counts as 0.
        """
        kept = {m: torch.where(having[m][:, None], s, 0.0) if m in having else s for m, s in pooled.items()}
        joined = sum_of({m: self.squeeze[m](s) for m, s in kept.items()}).relu()
        return {m: 2 * layer(joined).sigmoid() for m, layer in self.excite.items()}


class StageGates(nn.Module):
    """Gates after the last stages of several encoders, at most `most` of them.

    channels: modality -> the number of channels of every stage. sizes: modality -> that of the stages with gates, for
    each place. passed: modality -> the number of stages before these.

    >>> StageGates({"audio": [4, 4, 8], "video": [16, 8]}, most=3).sizes
    [{'audio': 4, 'video': 16}, {'audio': 8, 'video': 8}]
    """

    def __init__(self, channels: Mapping[str, list[int]], most: int) -> None:
        super().__init__()
        depth = min(most, *map(len, channels.values()))
        self.passed = {m: len(of) - depth for m, of in channels.items()}
        self.sizes = [{m: of[place - depth] for m, of in channels.items()} for place in range(depth)]
        self.places = nn.ModuleList(Gates(size) for size in self.sizes)

    def __iter__(self) -> Iterator[Gates]:
        return (gate for gate in self.places if isinstance(gate, Gates))

    def encode(self, runs: Mapping[str, Steps], open_with: Callable[[int, Scales], Scales]) -> Scales:
        """Features (B, d) of every modality.

        runs: modality -> its encoder, stage by stage. open_with: (place, pooled stages (B, K_m)) -> factors (B, K_m).
        """
        pooled = {m: next(run) for m, run in runs.items()}
        for m, count in self.passed.items():
            for _ in range(count):
                pooled[m] = after(runs[m], torch.ones_like(pooled[m]))
        for place in range(len(self.places)):
            factors = open_with(place, pooled)
            pooled = {m: after(runs[m], factors[m]) for m in pooled}
        return pooled


def learning_speed(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The squared norm of the gradients over that of the parameters, (); parameters without a gradient count as 0.

    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> weight.grad = torch.tensor([5.0, 0.0])
    >>> learning_speed([weight])
    tensor(1.)
    """
    weights = list(parameters)
    size = _squared_norm([p.detach() for p in weights])
    gradients = [p.grad for p in weights if p.grad is not None]
    return _squared_norm(gradients) / size.clamp(min=1e-30) if gradients else torch.zeros_like(size)


def _squared_norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).square().sum()
