"""`Balancer`: a balancing method in a training loop of the user's own."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcr_bench.bench.api.objects import method_name
from mcr_bench.bench.api.offered import NoIndex, NoPart, NotHere, check_built, reason_against
from mcr_bench.bench.api.own_net import AnyFusion, Modules, OwnNet, Sum, fusion_of, outputs_of, widths_of
from mcr_bench.bench.api.targets import require_target, task_of
from mcr_bench.bench.api.watching import Pass, Seen, Watch, features_of, is_training, require_apart, require_of
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.seeds import initialise
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import State, checked_losses, checked_outputs
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.multimodal import MultimodalModel, Outputs
from mcr_bench.bench.problem.samples import Batch, Inputs, Split
from mcr_bench.bench.settings.declaration import Value, build
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.methods.base import Method

Backward = Callable[[Tensor], object]
TRIED = 3  # steps at the start in which logits and features are compared: a loop goes on as it begins


class _Outputs(Outputs):
    """Outputs of the user's own forward pass, whose branches are computed only if the method reads them."""

    def __init__(
        self,
        model: MultimodalModel,
        features: dict[str, Tensor],
        logits: Tensor,
        branch_logits: dict[str, Tensor] | None = None,
    ) -> None:
        self.model, self.features, self.logits = model, features, logits

    @cached_property
    def branch_logits(self) -> dict[str, Tensor] | None:  # type: ignore[override]
        """Modality -> its share (B, C) of the logits without the bias; None if the fusion is not additive."""
        return self.model.fusion(self.features).branch_logits if self.model.fusion.additive else None


class Balancer:
    """A method that sets the gradients of a network in a training loop of your own, as it does in the harness.

    It replaces `loss.backward()`; forward pass, optimiser, clipping and schedule stay yours::

        balance = Balancer("ogm-ge", encoders={"audio": net.a, "video": net.v}, fusion=net.head)
        ...
        logits = net(batch)                  # calls the encoders and the fusion once, in training mode
        optimizer.zero_grad()
        balance.backward(logits, target)     # instead of criterion(logits, target).backward()
        optimizer.step()

    method: its name, file or class. encoders: modality -> the module that gives its features (B, d). fusion: an
    `nn.Linear` on the concatenated features, which is additive; a mapping modality -> module whose logits are added,
    which is additive and has a part for each modality; a fusion head of this package; or any other module that is
    called with the features. settings: the method's own, by key without its name. task: what is learned; an int is the
    number of classes; needed where the fusion does not tell it. heads: modality -> own head (d -> outputs), for methods
    that train such heads; without it they are made here, and `parameters()` gives them to the optimiser. widths:
    modality -> d, where the fusion does not tell it. epochs, seed: as in the harness.

    UserError for a method that needs more than gradients, with the reason, and where the network does not fit it.
    """

    def __init__(
        self,
        method: object,
        encoders: Mapping[str, nn.Module],
        fusion: Modules,
        *,
        settings: Mapping[str, Value] | None = None,
        task: Task | int | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        widths: Mapping[str, int] | None = None,
        epochs: int = 100,
        seed: int = 0,
    ) -> None:
        cls = registry.method(method_name(method))
        self.method = build(cls, dict(settings or {}))
        if reason := reason_against(self.method, tuple(encoders)):
            raise UserError(f"{cls.name} cannot be used in your own loop: {reason}. Train it with `mcr-bench run`.")
        require_apart(encoders)
        self._widths = dict(widths or widths_of(fusion, encoders))
        self._task = task_of(outputs_of(fusion) if task is None else task)
        head = fusion_of(fusion, encoders, self._widths)
        unmet = cls.needs.unmet(len(encoders), self._task) or cls.needs.unmet_by_head("this fusion", head.additive)
        if unmet:
            raise UserError(f"{cls.name} cannot be used here: it {unmet}.")
        own = heads or (self._heads() if cls.needs.own_heads else {})
        self._net = OwnNet(encoders, head, self._task, own, self._one_width())
        check_built(self.method, self._net, self.method.build)
        self._start(head, epochs, seed, drawn=heads is None)

    def _start(self, head: Fusion, epochs: int, seed: int, drawn: bool) -> None:
        weight = next(self._net.encoders.parameters(), torch.zeros(()))
        self._made = {"extras": self._net.extras, **({"own_heads": self._net.own_heads} if drawn else {})}
        if drawn:
            initialise(self._net.own_heads, seed, within="own_heads")
        initialise(self._net.extras, seed, within="extras")
        self._net.own_heads.to(weight.device, weight.dtype)
        self._net.extras.to(weight.device, weight.dtype)
        name = self.method.name
        self._fit = Fit(
            self._net,
            self._task,
            build(TrainingSettings, {"epochs": epochs}),
            cast(Split, NoPart(name, "the training data", self._net.modalities)),
            cast(Split, NoPart(name, "the validation data", self._net.modalities)),
            seed,
            weight.device,
        )
        self._fit.optimizer = cast(torch.optim.Optimizer, NotHere(name, "the optimiser"))
        self.method.fit = self._fit
        self.method.on_fit_start()
        self._parameters = list(self._net.parameters())
        self._acting = False
        self._hooks = [_watch(one, partial(self._seen, m)) for m, one in self._net.encoders.items()]
        if isinstance(head, AnyFusion):
            self._hooks.append(_watch(head.module, self._fused))

    def _one_width(self) -> int:
        """The width of all features; UserError where they differ and the method builds parts for them."""
        several = set(self._widths.values())
        if type(self.method).build is not Method.build and len(several) != 1:
            told = ", ".join(f"{m}: {d}" for m, d in self._widths.items()) or "not known"
            raise UserError(
                f"{self.method.name} adds parts that need features of one width, which are {told}. Give `widths`, or "
                "let every encoder end with a linear layer of that width."
            )
        return next(iter(several), 1)

    def _heads(self) -> dict[str, nn.Module]:
        if not self._widths:
            raise UserError(f"{self.method.name} trains a head for each modality. Give `widths`, or `heads`.")
        return {m: nn.Linear(width, self._task.outputs) for m, width in self._widths.items()}

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the method adds to the network, own heads for example; give them to the optimiser."""
        return self._net.added()

    def start_epoch(self) -> None:
        """Tell the method that the next epoch begins; the first one begins by itself."""
        self._fit.epoch += 1
        self.method.on_epoch_start()

    def backward(self, logits: Tensor, target: Tensor, by: Backward | None = None) -> Tensor:
        """Add the method's gradients to those of the network's parameters; returns the loss (), detached.

        logits: (B, C), what the network gave in this step. target: (B,) classes, or as of the task. by: what computes
        the gradients of a loss instead of `loss.backward()`, as `accelerator.backward` or `self.manual_backward`.
        UserError where the encoders have not run in training mode in this step, and with several processes.
        """
        self._check(logits, len(require_target(target, self._task, values=self._fit.step < TRIED)))
        if not self._fit.epoch:
            self.start_epoch()
        self._fit.step += 1
        net = self._net
        batch = Batch(
            Inputs({m: self._input(m) for m in net.modalities}, {}, {}),
            target,
            cast(Tensor, NoIndex(self.method.name, len(target))),
        )
        before, self._acting = self._taken(), True
        try:
            outputs = self._outputs(logits, batch)
            losses = checked_losses(self.method, self.method.loss(outputs, batch))
            factor = self._gradients(losses, by)
            self._scaled(factor, torch.div)
            self.method.after_backward(outputs, batch)
            self._scaled(factor, torch.mul)
        finally:
            self._give_back(before)
            net.passes, self._acting = {}, False
        for name, loss in losses.items():
            self._fit.log(f"loss/{name}", loss)
        return torch.stack([loss.detach() for loss in losses.values()]).sum()

    def metrics(self) -> dict[str, float]:
        """The means since the last call: losses, and what the method logs, such as `coefficient/audio`."""
        return self._fit.meters.means()

    def state_dict(self) -> State:
        """What a checkpoint needs beside the network: what changes in the method, and the parts that it made."""
        made = {name: part.state_dict() for name, part in self._made.items()}
        return {"method": self.method.state_dict(), "epoch": self._fit.epoch, "step": self._fit.step, "made": made}

    def load_state_dict(self, state: State) -> None:
        """Continue from what `state_dict` gave."""
        self._fit.epoch, self._fit.step = state["epoch"], state["step"]
        if self._fit.epoch:
            self.method.on_epoch_start()
        for name, part in self._made.items():
            part.load_state_dict(state["made"][name])
        self.method.load_state_dict(state["method"])

    def remove(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()

    def _check(self, logits: object, count: int) -> None:
        wanted = (count, self._task.outputs)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            what = (
                f"have shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"are a {type(logits).__name__}"
            )
            raise UserError(f"the logits {what}. Give a tensor {wanted}: one row per target and one column per output.")
        if missing := [m for m in self._net.modalities if m not in self._net.passes]:
            raise UserError(
                f"no forward pass of {', '.join(missing)} in training mode since the last step. Call the network with "
                "net.train() and gradients, and then `backward` once."
            )
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise UserError("a Balancer works in one process: coefficients of several would differ.")
        head, given = self._net.fusion, self._given()
        if isinstance(head, AnyFusion):
            head.find(logits)
        if self._fit.step < TRIED:
            self._check_widths()
            require_of(logits, given)
            if isinstance(head, Sum):
                head.seen = given, logits.detach()

    def _given(self) -> dict[str, Tensor]:
        return {m: self._net.passes[m].features for m in self._net.modalities}

    def _input(self, modality: str) -> Tensor:
        """What the encoder of a modality was given; what refuses to be read, where that is not a tensor."""
        first = next(iter(self._net.passes[modality].inputs), None)
        refused = NotHere(self.method.name, f"one tensor as the input of '{modality}'")
        return first if isinstance(first, Tensor) else cast(Tensor, refused)

    def _check_widths(self) -> None:
        for m, features in self._given().items():
            if m not in self._widths:
                continue
            if features.dim() != 2:
                raise UserError(
                    f"the encoder of '{m}' gives features {tuple(features.shape)}, not (B, {self._widths[m]}). Let it "
                    "end with what makes one row of each sample, as a mean over time does."
                )
            if features.shape[-1] != self._widths[m]:
                raise UserError(
                    f"the encoder of '{m}' gives {features.shape[-1]} features, not {self._widths[m]}. Give `widths`."
                )

    def _outputs(self, logits: Tensor, batch: Batch) -> Outputs:
        if type(self.method).forward is not Method.forward:
            made = self.method.forward(batch)
            return checked_outputs(self.method, "forward", made, len(batch.target), self._task.outputs)
        return _Outputs(self._net, self._given(), logits)

    def _gradients(self, losses: dict[str, Tensor], by: Backward | None) -> Tensor | None:
        """Compute the gradients; returns the factor () of what `by` did to the loss, as a GradScaler does."""
        if by is None:
            self.method.backward(losses)
            return None
        if type(self.method).backward is not Method.backward:
            raise UserError(
                f"{self.method.name} computes the gradients of its losses one after the other, so `by` cannot compute "
                "them. Leave `by` out, and train without a GradScaler: in bfloat16 or float32."
            )
        factors: list[Tensor] = []
        total = torch.stack(list(losses.values())).sum()
        total.register_hook(factors.append)
        by(total)
        return factors[0] if factors else None

    def _scaled(self, factor: Tensor | None, scaled: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Divide gradients by the factor (), or multiply them, so that the method sees them as they are without it."""
        for parameter in self._parameters if factor is not None else ():
            if parameter.grad is not None:
                parameter.grad = scaled(parameter.grad, cast(Tensor, factor))

    def _taken(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Gradients of earlier steps, which the method must not change: they are taken away, and added again."""
        kept = [(p, p.grad) for p in self._parameters if p.grad is not None]
        for parameter, _ in kept:
            parameter.grad = None
        return kept

    def _give_back(self, before: list[tuple[nn.Parameter, Tensor]]) -> None:
        for parameter, gradient in before:
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def _seen(
        self, modality: str, module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], made: object
    ) -> None:
        if not self._acting and is_training(module):
            self._net.passes[modality] = Pass(arguments, named, features_of(modality, made))

    def _fused(self, module: nn.Module, arguments: tuple[object, ...], named: dict[str, object], made: object) -> None:
        fusion = cast(AnyFusion, self._net.fusion)
        if self._acting or not module.training or len(self._net.passes) < len(self._net.encoders):
            return
        fusion.made = made
        if not fusion.known:
            fusion.learn(arguments, self._given())


def _watch(module: nn.Module, seen: Seen) -> RemovableHandle:
    return module.register_forward_hook(Watch(seen), with_kwargs=True)
