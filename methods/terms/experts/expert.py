"""The unimodal models that a joint model holds beside its own encoders, and what they predict."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.fit import Inputs, MultimodalModel
from mcr_bench.bench.models.memory import recalled


class Expert(nn.Module):
    """The encoder and the own head of a unimodal run."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


def add_experts(model: MultimodalModel) -> None:
    """Give the model one expert for each modality, of the form of its own encoder and own head."""
    parts = {m: copy.deepcopy((model.encoders[m], model.own_heads[m])) for m in model.modalities}
    model.extras["experts"] = nn.ModuleDict({m: Expert(*pair) for m, pair in parts.items()})


def experts_of(model: MultimodalModel) -> dict[str, Expert]:
    """Modality -> its expert, in a model that `add_experts` has given some."""
    return {m: cast(Expert, expert) for m, expert in cast(nn.ModuleDict, model.extras["experts"]).items()}


def expert_logits(model: MultimodalModel, inputs: Inputs) -> Tensor:
    """The logits (M, B, C) of all experts, in full precision."""
    return torch.stack([_logits(model, m, expert, inputs) for m, expert in experts_of(model).items()])


def _logits(model: MultimodalModel, modality: str, expert: Expert, inputs: Inputs) -> Tensor:
    """The logits (B, C) of one expert; those who count passes see its pass."""
    values, lengths = inputs.values[modality], inputs.lengths.get(modality)

    def encode() -> Tensor:
        features: Tensor = expert.encoder(values, lengths)
        for watcher in model.watchers:
            watcher(features)
        return features

    features = recalled(model.memory, "features", expert.encoder, values, lengths, encode)
    with full_precision(features.device):
        logits: Tensor = expert.head(promoted(features))
    return logits
