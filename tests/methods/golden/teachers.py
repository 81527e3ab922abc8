"""Unimodal runs for tests of methods that are taught by them: other weights than the student's, by modality."""

import torch
from torch import Tensor, nn

from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.fits import SMALL, THREE, make_fit, step
from mcr_bench.datasets.base import Rows, Split
from mcr_bench.methods.unimodal import Unimodal

Weights = dict[str, Tensor]


class Noisy(Rows):
    """Samples (N, D) on disk that training sees with an offset."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.shape = values, tuple(values.shape)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values[index]

    def augmented(self, index: Tensor, seed: int) -> Tensor:
        return self.values[index] + 1.0

    def mean(self) -> Tensor:
        return self.values.mean(0)

    def to(self, device: torch.device) -> "Noisy":
        return self


def unimodal_runs(
    names: tuple[str, ...],
    task: Task = THREE,
    dtype: torch.dtype = torch.float64,
    encoder: EncoderSettings | Encoder = SMALL,
    data: Split | None = None,
) -> list[Weights]:
    """The weights of a unimodal run of each modality after some steps, each from another seed."""
    made = []
    for i, m in enumerate(names):
        method = Unimodal()
        own = None if data is None else Split({m: data.values[m]}, data.target, data.ids)
        fit = make_fit(
            method, (m,), task, dtype=dtype, seed=11 + i, encoder=encoder, data=own, optimizer__lr=0.01 * (i + 1)
        )
        for _ in range(5):
            step(method)
        made.append({name: tensor.clone() for name, tensor in fit.model.state_dict().items()})
    return made


def taught(model: nn.Module, runs: list[Weights], names: tuple[str, ...], values: Weights) -> tuple[Weights, Weights]:
    """Modality -> the teacher's features (B, d), and its logits (B, C), for values (B, ...), from its weights alone."""
    features, logits = {}, {}
    for m, weights in zip(names, runs, strict=True):
        inside = {k.removeprefix(f"encoders.{m}."): v for k, v in weights.items() if k.startswith("encoders.")}
        with torch.no_grad():
            features[m] = torch.func.functional_call(model.encoders[m], inside, (values[m],))  # type: ignore[index, operator, union-attr]
            logits[m] = features[m] @ weights[f"own_heads.{m}.weight"].T + weights[f"own_heads.{m}.bias"]
    return features, logits
