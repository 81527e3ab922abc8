"""Fit: everything a method may use while one run is trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mcr_bench.bench.core import seeds
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.meters import Meters
from mcr_bench.bench.fit.moved import Movements
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.problem.epoch_batches import common_order
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.words import number_of
from mcr_bench.datasets.base import Split


@dataclass
class Fit:
    """One training run as its method sees it. The test part is not in it.

    model: the model that is trained.
    task: what is learned, with the loss.
    settings: epochs, batch size, optimiser and the other settings of training.
    train: the training part, with targets in the learned unit.
    val: the validation part.
    seed: the run's seed; draws come from `generator`.
    device: where model and data are.
    dependencies: the best weights of the runs that `Method.requires` names, in its order, as state dicts.
    epoch: the present epoch, from 1.
    step: the present training step, from 1, counted over the whole run.
    optimizer: the optimiser; it is made after `on_fit_start`.
    meters: this epoch's means, to which `log` adds.
    grown: the names that have grown, in their order.
    grower: what `grow` calls, with name and options; it is set when the optimiser is made.
    movements: how far this epoch's watched steps moved the weights of encoders.
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
    grown: list[str] = field(default_factory=list)
    grower: Callable[[str, Mapping[str, object]], nn.Module] | None = None
    movements: Movements = field(default_factory=Movements)
    # Epoch and number of parameters when they were collected, those of the model that move, and those that do not.
    _apart: tuple[int, int, list[nn.Parameter], list[nn.Parameter]] | None = field(default=None, init=False, repr=False)

    def generator(self, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator for draws of this step, one for each combination of names.

        Give the modality's name for a draw that belongs to one, so that it does not depend on the modalities' order.
        """
        return seeds.generator(self.seed, "method", self.epoch, self.step, *names, device=device)

    def order(self) -> Tensor:
        """The order (N,) int64, on the CPU, in which every method trains this epoch that does not choose its own."""
        return common_order(self.seed, self.epoch, len(self.train))

    def grow(self, name: str, **options: object) -> nn.Module:
        """Add the module that the method's hook `grow(name)` makes to the model while it is trained.

        Its weights are drawn from the stream `init` under its name, it lies in `model.extras[name]`, and the optimiser
        trains it with the options of its parameter groups, such as `lr`; what is not given is as for all others. A
        resumed run grows the same names before it reads the checkpoint. RuntimeError before the optimiser is made,
        where `build` is the hook; UserError for a name that is taken or not allowed, and for what is not a new module.
        """
        if self.grower is None:
            raise RuntimeError(
                "nothing grows before the optimiser is made: put the module into model.extras in build()"
            )
        return self.grower(name, options)

    def log(self, name: str, value: Tensor | float) -> None:
        """Add a number, or a tensor (), to this epoch's mean of `name`, such as `coefficient/audio`.

        This does not wait for the device.
        """
        self.meters.add(name, value)

    def log_each(self, names: Sequence[str], values: Tensor) -> None:
        """Add each of the values, a tensor (n,), to this epoch's mean of its name, at the cost of one call of `log`."""
        self.meters.add_each(tuple(names), values)

    def autocast(self) -> AbstractContextManager[object]:
        """A block that runs under torch's autocast to bfloat16 if `precision` is bf16."""
        if self.settings.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def zero_grad(self) -> None:
        """Remove all gradients of the optimiser's parameters and of the model's, as clipping counts them all."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        for parameter in self._outside():
            parameter.grad = None

    def _outside(self) -> list[nn.Parameter]:
        """The model's parameters that are in no group, collected once per epoch and growth, as a walk takes time.

        UserError where a part of the model was replaced since, of which the optimiser moves the old one.
        """
        count = sum(len(group["params"]) for group in self.optimizer.param_groups)
        if self._apart is None or self._apart[:2] != (self.epoch, count):
            moved = [p for group in self.optimizer.param_groups for p in group["params"]]
            held = {id(p) for p in self.model.parameters()}
            known = [p for p in moved if id(p) in held] if self._apart is None else self._apart[2]
            if left := sum(id(p) not in held for p in known):
                raise UserError(
                    f"{number_of(left, 'parameter')} that the optimiser moves left the model, as the method replaced a "
                    "part of it. Make the parts in build(), or add one with fit.grow(name); to draw weights anew, copy "
                    "them into the parameters."
                )
            inside = {id(p) for p in moved}
            outside = [p for p in self.model.parameters() if id(p) not in inside]
            self._apart = self.epoch, count, known, outside
        return self._apart[3]

    def scale(self, parameters: Iterable[torch.nn.Parameter], coefficient: Tensor | float, name: str) -> None:
        """Multiply the gradients of parameters by `coefficient`, a number or a tensor (), and log it.

        It is logged as `coefficient/NAME`. UserError if no parameter has a gradient.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            raise UserError(
                f"no gradient to scale for '{name}', so the method would have no effect there. Its parameters must "
                "require gradients and be reached by the loss: methods that scale gradients need encoders that learn."
            )
        torch._foreach_mul_(gradients, coefficient)
        self.log(f"coefficient/{name}", coefficient)

    def update(self, losses: dict[str, Tensor]) -> None:
        """Log the losses, each a tensor (), and gradient norms; clip the gradients; make a step of the optimiser."""
        for name, loss in losses.items():
            self.log(f"loss/{name}", loss)
        self.meters.gradients(self.model)
        if self.settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
