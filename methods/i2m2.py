"""I2M2: a product of experts, one for each modality and a joint one, each with encoders of its own."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.models.memory import recalled
from mcr_bench.bench.models.multimodal import Inputs, MultimodalModel, Outputs
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Batch
from mcr_bench.methods.base import Group, Method, Needs, OfficialCode, Reference, Requirement
from mcr_bench.methods.terms.losses import stacked
from mcr_bench.methods.terms.unimodal_start import take_over, unimodal_runs


def product(joint: Tensor, experts: Tensor, task: Task, having: Tensor | None = None) -> Tensor:
    """The logits (B, C) of the normalised product of all experts' distributions: z + sum_m u_m.

    In a regression it is the mean of all outputs, the mean of a product of normal distributions of equal variance.

    joint: z, (B, C). experts: u, (M, B, C). having: (M, B) bool, which samples have each modality, if some lack one; a
    sample counts the experts of those that it has.

    >>> z, u = torch.tensor([[1.0]]), torch.tensor([[[2.0]], [[6.0]]])
    >>> product(z, u, Task(None, labels=1)), product(z, u, Task(None))
    (tensor([[9.]]), tensor([[3.]]))
    """
    kept = torch.ones_like(experts[..., 0], dtype=torch.bool) if having is None else having
    total = joint + torch.where(kept[..., None], experts, 0.0).sum(0)
    return total / (1 + kept.sum(0))[:, None] if task.regression else total


class Expert(nn.Module):
    """The encoder and the own head of a unimodal run."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


@dataclass
class I2M2(Method):
    """Minimise CE(z + sum_m u_m, y); the prediction is softmax(z + sum_m u_m), a product of M + 1 experts.

    u_m are the logits of a unimodal model, z those of a joint model whose encoders are others:
    log p(y | x) = log softmax(z)_y + sum_m log softmax(u_m)_y - log of the sum over classes of the same. All start from
    the weights of their own finished runs and are trained together by a new optimiser.
    """

    name: ClassVar[str] = "i2m2"
    title: ClassVar[str] = "I2M2"
    group: ClassVar[Group] = "architecture"
    reference: ClassVar[Reference] = Reference(
        "Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal Learning", "NeurIPS 2024", "2405.17613"
    )
    official_code: ClassVar[OfficialCode | None] = OfficialCode("github.com/divyam3897/I2M2", "7742765", "complete")
    needs: ClassVar[Needs] = Needs(at_least=2)
    without_neutral: ClassVar[str] = (
        "It has no setting: the experts always count, so that it is never joint training alone."
    )
    deviations: ClassVar[tuple[str, ...]] = (
        "Any number of modalities, with one expert each. Official code: two.",
        "Optimiser, learning rate, epochs and clipping are those of the run, in all stages. Official code, AV-MNIST: "
        "SGD at 0.01 in the unimodal stage and the last one, 0.1 in the joint one, 30 epochs each, clipped at norm 8.",
        "The stages before the last one end at their best epochs by validation, as all runs.",
        "In a regression the outputs are averaged, an extension; the official code does so where inputs are packed.",
        "A sample that lacks a modality is predicted without its expert, an extension.",
        "Predictions from one modality are those of probe heads on the features of the joint model.",
    )

    def requires(self, modalities: tuple[str, ...]) -> list[Requirement]:
        return [*unimodal_runs(modalities), Requirement("joint", modalities)]

    def build(self, model: MultimodalModel) -> None:
        copies = {m: copy.deepcopy((model.encoders[m], model.own_heads[m])) for m in model.modalities}
        model.extras["experts"] = nn.ModuleDict({m: Expert(*parts) for m, parts in copies.items()})

    def on_fit_start(self) -> None:
        model, runs = self.fit.model, self.fit.dependencies
        if len(runs) != len(model.modalities) + 1:
            raise RuntimeError(
                f"{len(model.modalities)} unimodal runs and a joint one are needed, not {len(runs)} runs"
            )
        for (m, expert), weights in zip(_experts(model).items(), runs[:-1], strict=True):
            take_over(expert.encoder, expert.head, weights, m)
        kept = {name: x for name, x in model.state_dict().items() if name.startswith("extras.")}
        model.load_state_dict(kept | runs[-1])

    def forward(self, batch: Batch) -> Outputs:
        return _with_experts(super().forward(batch), batch.inputs, batch.having)

    def predict(self, model: MultimodalModel, inputs: Inputs) -> Outputs:
        return _with_experts(super().predict(model, inputs), inputs, inputs.present)


def _experts(model: MultimodalModel) -> dict[str, Expert]:
    return {m: cast(Expert, expert) for m, expert in cast(nn.ModuleDict, model.extras["experts"]).items()}


def _with_experts(outputs: Outputs, inputs: Inputs, having: Mapping[str, Tensor]) -> Outputs:
    """The outputs of the joint model with the logits (B, C) of the product in place of its own."""
    model = outputs.model
    logits = torch.stack([_logits(model, m, expert, inputs) for m, expert in _experts(model).items()])
    whole = product(outputs.logits, logits, model.task, stacked(model.modalities, having))
    return replace(outputs, logits=whole, branch_logits=None)


def _logits(model: MultimodalModel, modality: str, expert: Expert, inputs: Inputs) -> Tensor:
    """The logits (B, C) of one expert, in full precision; those who count passes see its pass."""
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
