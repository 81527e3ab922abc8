"""The passes on zeros of all encoders as one CUDA graph: at batch 1 a GPU waits for the launches of their kernels."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.methods.terms.modes import evaluation_mode

# Largest difference of the graph's features and gradients from those of plain passes, as a share of their norm: TF32
# and bfloat16 round to about 1e-3, and algorithms may differ (our choice).
TOLERANCE = 2e-2
ON_GPU = ("cuda",)  # types of devices that have graphs
Zeros = Callable[[], dict[str, Tensor]]


class ZeroPass(nn.Module):
    """Encoders in evaluation mode on one sample of zeros each: tensors (1, ...) -> features (1, d), in their order.

    It is not a part of the model, but its parameters are those of the encoders.
    """

    def __init__(self, encoders: dict[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(encoders.values())

    def forward(self, *zeros: Tensor) -> tuple[Tensor, ...]:
        """Zeros (1, ...) of every encoder -> features (1, d) of every encoder."""
        return tuple(part(x, None) for part, x in zip(self.parts, zeros, strict=True))


def zero_graph(fit: Fit, modalities: list[str]) -> Zeros | None:
    """A function that gives modality -> features (1, d) of a sample of zeros, by replaying a graph of all encoders.

    Call it in evaluation mode, under the run's autocast, as plain passes are called. Gradients flow as through plain
    passes. None where there is no GPU or no such modality, and, with a warning in the run's log, where the graph
    cannot be made or does not give what plain passes give.
    """
    if not modalities or fit.device.type not in ON_GPU:
        return None
    values = {
        m: fit.train.batch(torch.zeros(1, dtype=torch.long, device=fit.device)).inputs.values[m] for m in modalities
    }
    zeros = tuple(torch.zeros_like(x) for x in values.values())
    module = ZeroPass({m: fit.model.encoders[m] for m in modalities})
    try:
        with evaluation_mode(fit.model.encoders), fit.autocast():
            plain = _with_gradients(module, zeros, module)
            replay = devices.graphed(module, zeros)
            difference = _difference(plain, _with_gradients(module, zeros, replay))
    except Exception as error:  # of any type: plain passes do the same, but take longer
        warnings.warn(f"passes on zeros take longer, as no CUDA graph of them can be made: {error}", stacklevel=2)
        return None
    if not difference <= TOLERANCE:
        warnings.warn(f"passes on zeros take longer, as a CUDA graph of them is off by {difference:.1e}", stacklevel=2)
        return None

    def replayed() -> dict[str, Tensor]:
        features = dict(zip(modalities, replay(*zeros), strict=True))
        for made in features.values():
            for watcher in fit.model.watchers:  # a replay calls no hook of an encoder
                watcher(made)
        return features

    return replayed


def _with_gradients(
    module: ZeroPass, zeros: tuple[Tensor, ...], passed: Callable[..., tuple[Tensor, ...]]
) -> tuple[Tensor, Tensor]:
    """All features that `passed` gives in one vector, and all gradients of their sum in another."""
    features = passed(*zeros)
    learned = [p for p in module.parameters() if p.requires_grad]
    total = torch.stack([f.float().sum() for f in features]).sum()
    gradients = torch.autograd.grad(total, learned, materialize_grads=True) if learned else ()
    return _joined(features), _joined(gradients)


def _joined(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([x.detach().float().flatten() for x in tensors]) if tensors else torch.zeros(1)


def _difference(expected: tuple[Tensor, Tensor], given: tuple[Tensor, Tensor]) -> float:
    """The larger distance of the two pairs of vectors, as a share of the norm of the expected one.

    >>> _difference((torch.ones(4), torch.ones(1)), (torch.ones(4), torch.tensor([1.5])))
    0.5
    """
    return max(float((b - a).norm() / a.norm().clamp(min=1e-12)) for a, b in zip(expected, given, strict=True))
