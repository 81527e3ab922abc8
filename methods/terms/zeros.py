"""Features of inputs that are all zero, beside those of a batch, for methods that compare with an absent modality.

At batch 1 a GPU waits for the launches of kernels. Where an encoder does the same in training and evaluation mode, its
zeros are one more sample of the training pass; the passes of the others are one CUDA graph.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.methods.terms.modes import evaluation_mode

KNOWN = ("torch.nn.", "mcr_bench.bench.models.")  # where modules are from whose code says all about their modes
# Largest difference of the graph's features and gradients from those of plain passes, as a share of their norm: TF32
# and bfloat16 round to about 1e-3, and algorithms may differ (our choice).
TOLERANCE = 2e-2
ON_GPU = ("cuda",)  # types of devices that have graphs
Zeros = Callable[[], dict[str, Tensor]]


def steady(encoder: nn.Module) -> bool:
    """Whether an encoder gives a sample the same features in training and in evaluation mode, whatever is beside it.

    In doubt it does not: all its parts must be PyTorch's or the harness's, and none may look at its mode, as dropout
    and batch norm do.

    >>> steady(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), steady(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    (True, False)
    """
    return not any(_looks_at_its_mode(type(part)) for part in encoder.modules())


def _looks_at_its_mode(kind: type[nn.Module]) -> bool:
    if not f"{kind.__module__}.".startswith(KNOWN):
        return True
    classes = [cls for cls in kind.__mro__ if issubclass(cls, nn.Module) and cls is not nn.Module]
    functions = [getattr(value, "__code__", None) for cls in classes for value in vars(cls).values()]
    return any(code is not None and "training" in code.co_names for code in functions)


def encode_with_zeros(
    model: MultimodalModel, inputs: Inputs, gradient: bool, joined: frozenset[str], graph: Zeros | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Modality -> features (B, d) of the training pass, and features of zeros as those of evaluation mode.

    The latter are those of one sample, (1, d), except with padded sequences, whose features depend on their lengths:
    then all have (B, d).

    gradient: whether gradients flow through the passes on zeros.
    joined: modalities whose encoders are `steady`. Their zeros are one more sample of the training pass, which spares
    a pass; the features of the others may then differ in the last digits.
    graph: gives features (1, d) of zeros of the modalities that it knows, instead of a pass (`zero_graph`).
    """
    features, absent = {}, {}
    for m, values in inputs.values.items():
        if m not in joined or m in inputs.lengths:
            features[m] = model.encode_one(m, values, inputs.lengths.get(m))
            continue
        both = model.encode_one(m, torch.cat((values, torch.zeros_like(values[:1]))))
        features[m], zero = both.split((len(values), 1))
        absent[m] = zero if gradient else zero.detach()
    # The training passes come first, because they change running statistics in place.
    with evaluation_mode(model.encoders), torch.set_grad_enabled(gradient):
        absent |= graph() if graph is not None else {}
        for m in inputs.values:
            if m not in absent:
                absent[m] = zero_features(model, inputs, m)
    if inputs.lengths:
        absent = {m: f.expand(len(inputs), -1) for m, f in absent.items()}
    return features, {m: absent[m] for m in inputs.values}


def zero_features(model: MultimodalModel, inputs: Inputs, modality: str) -> Tensor:
    """Features (1, d) of a sample of zeros; (B, d) of padded sequences, one for each length."""
    values, lengths = inputs.values[modality], inputs.lengths.get(modality)
    zeros = torch.zeros_like(values if lengths is not None else values[:1])
    return model.encode_one(modality, zeros, lengths)


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
    one = fit.train.batch(torch.zeros(1, dtype=torch.long, device=fit.device)).inputs
    zeros = tuple(torch.zeros_like(one.values[m]) for m in modalities)
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
