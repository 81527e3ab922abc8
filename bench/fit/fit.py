"""Fit: everything a method may use while one run is trained."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from mcr_bench.bench.core import seeds
from mcr_bench.bench.fit.meters import Meters
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Split


@dataclass
class Fit:
    """One training. `epoch` and `step` (over the whole run) count from 1; `dependencies` are state dicts of models.

    A method sees the training and validation parts only.
    """

    model: MultimodalModel
    task: Task
    settings: TrainingSettings
    train: Split
    val: Split
    seed: int
    device: torch.device
    dependencies: list[dict[str, Tensor]] = field(default_factory=list)
    epoch: int = 0
    step: int = 0
    optimizer: Optimizer = None  # type: ignore[assignment]  # made after on_fit_start
    meters: Meters = field(default_factory=Meters)

    def generator(self, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator of the `method` stream for this step, keyed by `names` (name the modality where there is one)."""
        return seeds.generator(self.seed, "method", self.epoch, self.step, *names, device=device)

    def log(self, name: str, value: Tensor | float) -> None:
        """Add to this epoch's mean of `name`, e.g. `coefficient/audio`; never waits for the device."""
        self.meters.add(name, value)

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast where the run asks for it."""
        enabled = self.settings.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def zero_grad(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def scale(self, parameters: Iterable[torch.nn.Parameter], coefficient: Tensor | float, name: str) -> None:
        """Multiply gradients by `coefficient`, logged as `coefficient/name`; RuntimeError if there is no gradient."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            raise RuntimeError(f"no gradient to scale for '{name}': the method would silently do nothing")
        torch._foreach_mul_(gradients, coefficient)
        self.log(f"coefficient/{name}", coefficient)

    def update(self, losses: dict[str, Tensor]) -> None:
        """Log the losses and gradients, clip, and step the optimiser."""
        for name, loss in losses.items():
            self.log(f"loss/{name}", loss)
        self.meters.gradients(self.model)
        if self.settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
