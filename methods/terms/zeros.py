"""Features of inputs that are all zero, beside those of a batch, for methods that compare with an absent modality."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.methods.terms.zero_graph import Zeros

KNOWN = ("torch.nn.", "mcr_bench.bench.models.")  # where modules are from whose code says all about their modes


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
