"""The faults: each is a class that differs from `Sound` in one thing."""

import copy
import gc
import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.settings import setting
from mcr_bench.datasets.base import Split
from mcr_bench.methods.base import EpochBatches, Inputs, Method, Needs, Neutral, Reference
from mcr_bench.methods.terms.modes import evaluation_mode
from mcr_bench.tests.methods.broken.sound import Sound


class Planted(NamedTuple):
    """A fault.

    cls: the method that has it.
    property: the property that must fail, and no other one.
    reason: what the reason says, as a regular expression.
    """

    cls: type[Method]
    property: str
    reason: str


PLANTED: list[Planted] = []


def planted(name: str, reason: str) -> Any:
    """Enters the class below as a fault that the property `name` must find."""

    def enter(cls: type[Method]) -> type[Method]:
        cls.name = cls.__name__.lower()
        cls.__doc__ = "Minimise the loss of `Sound`, with a fault."
        PLANTED.append(Planted(cls, name, reason))
        return cls

    return enter


@planted("any-number", r"3 modalities, classes: ValueError: too many values to unpack .*planted.py, line \d+")
class TwoAlone(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        first, second = outputs.features.values()
        return 0.1 * (promoted(first).square().mean() + promoted(second).square().mean())


@planted("any-number", "2 modalities, one score: (Runtime|Index)Error")
class ClassesAlone(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        right = outputs.logits.softmax(-1).gather(1, batch.target[:, None])
        return super().decay(outputs, batch) - 0.1 * right.mean()


@planted("finite-terms", "2 modalities, classes: coefficient/ratio is nan")
class NothingByNothing(Sound):
    def after_backward(self, outputs: Any, batch: Any) -> None:
        nothing = outputs.logits.detach().sum() * 0
        self.fit.log("coefficient/ratio", nothing / nothing)


@planted("finite-gradients", "the gradient of encoders.audio.* is not finite")
class RootOfZero(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        moved = torch.stack([(f - f.detach()).square().sum() for f in outputs.features.values()])
        return super().decay(outputs, batch) + moved.sum().sqrt()


@planted("float64", r"float64 is turned into fewer bits \(planted.py, line \d+\)")
class InFloat32(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return 0.1 * torch.stack([f.float().square().mean() for f in outputs.features.values()]).sum()


@planted("float64", r"in float64: RuntimeError: .*planted.py, line \d+")
class Float32Constant(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        mixing = torch.eye(self.fit.model.width, device=self.fit.device)
        with full_precision(self.fit.device):
            return 0.1 * torch.stack([(promoted(f) @ mixing).square().mean() for f in outputs.features.values()]).sum()


@planted("repeatable", "after 2 epochs encoders.audio.* differs by .* of the same seed")
class OwnGenerator(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * float(np.random.default_rng().uniform(0.5, 1.5))


@planted("repeatable", "of the same seed")
class StateOnTheClass(Sound):
    steps = 0

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        StateOnTheClass.steps += 1
        return super().decay(outputs, batch) / StateOnTheClass.steps


@planted("global-generators", "train_step draws from the global generator of torch, or seeds it")
class GlobalNoise(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * torch.rand(())


@planted("global-generators", "on_epoch_end draws from the global generator of numpy")
class Shuffles(Sound):
    def on_epoch_end(self, validation: Any) -> None:
        np.random.permutation(3)


@planted("global-generators", "on_fit_start draws from the global generator of torch, or seeds it")
class SeedsAll(Sound):
    def on_fit_start(self) -> None:
        torch.manual_seed(self.fit.seed)


@planted("resume", "between two epochs, encoders.* differs by .*; strength was not restored")
class ForgetsItsMean(Sound):
    def on_fit_start(self) -> None:
        self.strength = torch.ones(())

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        self.strength = 0.5 * self.strength + outputs.logits.detach().square().mean()
        return super().decay(outputs, batch) * self.strength


@planted("resume", "after 2 steps of an epoch, encoders.* differs by .*; steps was not restored")
class ForgetsInside(Sound):
    def on_epoch_start(self) -> None:
        self.steps = 0

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        self.steps = getattr(self, "steps", 0) + 1
        return super().decay(outputs, batch) / self.steps


@planted("resume", "after 2 steps of an epoch at epoch 25, encoders.* differs by .*; strength was not restored")
class ForgetsLate(Sound):
    def on_epoch_start(self) -> None:
        self.strength = torch.ones(())

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        if self.fit.epoch > 9:  # after a warm-up
            self.strength = 0.5 * self.strength + outputs.logits.detach().square().mean()
        return super().decay(outputs, batch) * self.strength


@planted("resume", "between two epochs, encoders.* differs by")
class KeepsAGenerator(Sound):
    def on_fit_start(self) -> None:
        self.generator = torch.Generator().manual_seed(self.fit.seed)

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        share = torch.rand((), generator=self.generator)
        return super().decay(outputs, batch) * float(share)


class Box:
    """Something that no checkpoint takes."""


@planted("resume", r"the value of \['box'\] is a Box, which a checkpoint cannot give back")
class KeepsObjects(Sound):
    def state_dict(self) -> dict[str, object]:
        return {"box": Box()}


@planted("complete-card", "the card lacks reference")
class Unpublished(Sound):
    reference: ClassVar[Reference] = Reference("", "")


@planted("complete-card", "the card lacks neutral, or the reason why there is none")
class NeverNeutral(Sound):
    without_neutral = ""


@planted("documented-settings", "rate is a field, but not a setting")
@dataclass
class BareField(Sound):
    rate: float = 0.5


@planted("own-heads-declared", "it reads the own heads .* does not declare Needs")
class ReadsHeads(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        own = [self.fit.task.loss(z, batch.target) for z in outputs.own_logits.values()]
        return super().decay(outputs, batch) + 0.1 * torch.stack(own).sum()


@planted("any-fusion-head", "with model.fusion=.*: AttributeError: 'NoneType' object has no attribute 'values'")
class ReadsBranches(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) + 0.1 * torch.stack(list(outputs.branch_logits.values())).square().mean()


@planted(
    "any-fusion-head", "with model.fusion=bottleneck-tokens: the fusion head reads the tokens of .* of its own making"
)
class FusesCopies(Sound):
    def forward(self, batch: Any) -> Any:
        model = self.fit.model
        copies = {m: 1.0 * f for m, f in model.encode(batch.inputs).items()}
        return model.fuse(model.drop(copies, batch.dropped) if batch.dropped else copies)


@planted("neutral", r"neutral settings: unknown setting '.*\.wieght'. Did you mean .*\.weight\?")
@dataclass
class MisspeltSetting(Sound):
    weight: float = setting(0.1, "weight of the term", at_least=0)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"wieght": 0.0}, "joint"),)


@planted("neutral", "neutral settings equal an unknown method 'jiont'. Did you mean joint")
class MisspeltMethod(Sound):
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({}, "jiont"),)


@planted("neutral", r"with weight=0.0 it is not joint: encoders.* differs by .* after 3 epochs \(sgd, M = 2\)")
@dataclass
class NeverTheSame(Sound):
    weight: float = setting(0.5, "weight of the term of the features", at_least=0)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"weight": 0.0}, "joint"),)

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * (self.weight or 0.1)  # takes 0 for a missing value


@planted("neutral", r"with weight=0.0 it is not joint: encoders.* differs by .* after 3 epochs \(sgd, M = 2\)")
@dataclass
class HalfOfTheSamples(Sound):
    weight: float = setting(0.5, "weight of the term of the features", at_least=0)
    neutral: ClassVar[tuple[Neutral, ...]] = (Neutral({"weight": 0.0}, "joint"),)

    def epoch_batches(self, epoch: int) -> EpochBatches:
        order = self.fit.order()
        return EpochBatches(order[: len(order) // 2])

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * self.weight


@planted("order-of-modalities", "with 2 modalities .* differs by")
class DropsTheFirst(Sound):
    def epoch_batches(self, epoch: int) -> EpochBatches:
        order = self.fit.order()
        return EpochBatches(order, {self.fit.model.modalities[0]: order % 3 == 0})


@planted("order-of-modalities", "with 2 modalities .* differs by")
class FavoursTheFirst(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        first = next(iter(outputs.features.values()))
        return super().decay(outputs, batch) + 0.01 * promoted(first).square().mean()


@planted("order-of-modalities", "with 3 modalities .* differs by")
class NeighboursAlone(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        features = [promoted(f) for f in outputs.features.values()]
        pairs = [(a - b).square().mean() for a, b in pairwise(features)]
        return 0.1 * torch.stack(pairs).sum() + super().decay(outputs, batch)


@planted("names-of-modalities", "differs by")
class SortsByName(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        last = outputs.features[max(outputs.features)]
        return super().decay(outputs, batch) + 0.01 * promoted(last).square().mean()


@planted("same-start", "before the first step fusion.* differs by .* from joint training")
class StartsAtZero(Sound):
    def on_fit_start(self) -> None:
        for parameter in self.fit.model.fusion.parameters():
            nn.init.zeros_(parameter[:1])


class WithExtra(Sound):
    """A term through a layer of its own."""

    def build(self, model: Any) -> None:
        model.extras["gate"] = nn.Linear(model.task.outputs, 1)

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        gate = self.fit.model.extras["gate"]
        return super().decay(outputs, batch) + 0.1 * gate(outputs.logits).square().mean()


@planted("every-parameter-moves", "extras.gate.bias, extras.gate.weight: the optimiser never moves it")
class LeftOut(WithExtra):
    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        return [{"params": model.encoders.parameters()}, {"params": model.fusion.parameters()}]


@planted("every-parameter-moves", "extras.gate.bias, extras.gate.weight: the optimiser never moves it")
class NeverReached(WithExtra):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return Sound.decay(self, outputs, batch)


@planted("every-parameter-moves", "strength: a parameter of the method, not of the model, so the optimiser never")
class KeptByTheMethod(Sound):
    def on_fit_start(self) -> None:
        self.strength = nn.Parameter(torch.ones(1, dtype=next(self.fit.model.parameters()).dtype))

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * self.strength.to(outputs.logits.device).square().mean()


@planted("every-parameter-moves", "norms.first.bias, norms.first.weight: a parameter of the method, not of the model")
class KeepsModules(Sound):
    def on_fit_start(self) -> None:
        parameter = next(self.fit.model.parameters())
        self.norms = {"first": nn.LayerNorm(self.fit.model.width, device=parameter.device, dtype=parameter.dtype)}

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * (self._scale(outputs.logits.device).square().mean())

    def _scale(self, device: torch.device) -> Tensor:
        return torch.cat([p.to(device) for p in self.norms["first"].parameters()])


@planted("parameters-in-the-model", r"the optimiser trains a parameter of shape \(1,\) outside the model")
class OutsideTheModel(Sound):
    def on_fit_start(self) -> None:
        dtype = next(self.fit.model.parameters()).dtype
        self.strength = nn.Parameter(torch.ones(1, dtype=dtype, device=self.fit.device))

    def parameter_groups(self, model: Any) -> list[dict[str, Any]]:
        return [{"params": [*(p for p in model.parameters() if p.requires_grad), self.strength]}]

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) * self.strength.square().mean()

    def state_dict(self) -> dict[str, Any]:
        return {"strength": self.strength.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.strength.data.copy_(state["strength"])


@planted("learning-rates", r"on_epoch_start\(\) sets the lr of a group .* the schedule overwrites it")
class HalvesTheRate(Sound):
    """Acts by nothing else, so that it trains as joint training does."""

    def on_epoch_start(self) -> None:
        for group in self.fit.optimizer.param_groups:
            group["lr"] = 0.5 * group["base_lr"]

    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        return {"fused": self.fit.task.loss(outputs.logits, batch.target)}


@planted("learning-rates", r"train_step\(\) sets the lr of a group")
class SlowsAfterTheStep(Sound):
    def train_step(self, batch: Any) -> None:
        super().train_step(batch)
        for group in self.fit.optimizer.param_groups:
            group["lr"] *= 0.9


@planted("acts", "with default settings it trains exactly as joint training does")
class DoesNothing(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        if self.fit.epoch < 1:  # epochs count from 1
            return super().decay(outputs, batch)
        return outputs.logits.new_zeros(())


@planted("lowers-the-loss", "30 small steps of SGD change the loss .* from [0-9.]+ to [0-9.]+")
class Ascends(Sound):
    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        terms = super().loss(outputs, batch)
        return {"fused": -terms["fused"], "decay": terms["decay"]}


def masked(method: Method, outputs: Any, batch: Any) -> Tensor:
    """The mean loss where one modality's features are zeros, ()."""
    losses = []
    for m in outputs.features:
        features = {n: torch.zeros_like(f) if n == m else f for n, f in outputs.features.items()}
        losses.append(method.fit.task.loss(outputs.model.fuse(features).logits, batch.target))
    return torch.stack(losses).mean()


@planted("terms-have-gradients", "the term 'masked' has no gradient")
class MaskedWithoutGradient(Sound):
    needs: ClassVar[Needs] = Needs(own_features=True)

    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            term = masked(self, outputs, batch)
        return {**super().loss(outputs, batch), "masked": 0.1 * term}


@planted("terms-have-gradients", "the term 'apart' has no gradient")
class DetachedOnBothSides(Sound):
    def loss(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        terms = super().loss(outputs, batch)
        likeness = outputs.logits.detach().requires_grad_().square().mean()
        return {**terms, "apart": 0.1 * likeness}


@planted("coefficients-without-gradient", "coefficient/audio has a gradient of its own")
class TrainedCoefficient(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        sizes = {m: promoted(f).square().mean() for m, f in outputs.features.items()}
        shares = torch.stack(list(sizes.values())).softmax(0)
        for m, share in zip(sizes, shares, strict=True):
            self.fit.log(f"coefficient/{m}", share)
        return 0.1 * (shares * torch.stack(list(sizes.values()))).sum()


@planted("coefficients-without-gradient", "the gradient of encoders.audio.* has a gradient of its own")
class LiveScale(Sound):
    def after_backward(self, outputs: Any, batch: Any) -> None:
        factor = 1 + next(self.fit.model.fusion.parameters()).square().mean()
        for parameter in self.fit.model.encoders.parameters():
            parameter.grad = parameter.grad * factor


@planted("coefficients-logged", "no coefficient/audio is logged with 2 modalities")
class SilentScale(Sound):
    scales_gradients = True

    def after_backward(self, outputs: Any, batch: Any) -> None:
        for parameter in self.fit.model.encoders.parameters():
            parameter.grad.mul_(0.5)


@planted("batch-of-one", "one sample, classes: loss/decay is nan")
class SpreadOfOne(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return super().decay(outputs, batch) / (1.0 + outputs.logits.detach().std(0).mean())


@planted("dead-modality", "of 'audio' (is|are) zero, classes")
class DividesByItsNorm(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        lengths = [promoted(f).norm() for f in outputs.features.values()]
        return super().decay(outputs, batch) + 1e-3 * torch.stack([x * (x / x.detach()) for x in lengths]).sum()


@planted("dropped-modality", "a step was to drop 'audio' for some samples and did not")
class DropsNothing(Sound):
    def forward(self, batch: Any) -> Any:
        return self.fit.model(batch.inputs)


@planted("dropped-modality", "where 'audio' is dropped, its input still counts: encoders.audio.* differs by")
class ReadsWhatIsDropped(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        with evaluation_mode(self.fit.model):
            again = self.fit.model.encode(batch.inputs)
        return 0.1 * torch.stack([promoted(f).square().mean() for f in again.values()]).sum()


@planted("absent-modality", "the own head of 'audio' learns from samples that lack 'audio'")
class TeachesTheAbsent(Sound):
    needs: ClassVar[Needs] = Needs(own_heads=True)

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        own = [self.fit.task.loss(z, batch.target) for z in outputs.own_logits.values()]
        return super().decay(outputs, batch) + 0.1 * torch.stack(own).sum()


@planted("absent-modality", "where samples lack a modality, or are padded: loss/decay is nan")
class MeanOfNone(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        absent = [outputs.logits.detach()[~has].mean() for has in batch.inputs.present.values()]
        return super().decay(outputs, batch) + sum(absent)


@planted("absent-modality", r"or are padded: .*Error: .*planted.py, line \d+")
class FlatSamplesAlone(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        widths = [width for _, width in (x.shape for x in batch.inputs.values.values())]
        return super().decay(outputs, batch) / len(widths)


@planted("saturated-logits", "logits of about 1e.04, classes: loss/decay is (inf|nan)")
class LogOfSoftmax(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        if not self.fit.task.classes:
            return super().decay(outputs, batch)
        return super().decay(outputs, batch) - 0.01 * outputs.logits.softmax(-1).log().mean()


@planted("bf16", "RuntimeError: index_add.*same scalar type")
class MixesTypes(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        total = super().decay(outputs, batch)
        for f in outputs.features.values():
            sums = torch.zeros(1, f.shape[1], dtype=outputs.logits.dtype, device=f.device)
            total = total + 1e-3 * sums.index_add(0, torch.zeros_like(batch.index), f).square().mean()
        return total


@planted("bf16", "'decay' is torch.bfloat16, not torch.float32")
class LosesPrecision(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return 0.1 * torch.stack([f.square().mean() for f in outputs.features.values()]).sum()


@planted("predictions", r"1 samples, classes: .*the logits are a tensor of shape \(3,\)")
class DropsTheAxis(Sound):
    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        return replace(outputs, logits=outputs.logits.squeeze(0))


@planted("predictions-of-each-alone", "7 samples at a time, the prediction differs by")
class CentresTheBatch(Sound):
    predicts_otherwise = "logits are centred"

    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        return replace(outputs, logits=outputs.logits - outputs.logits.mean(0), branch_logits=None)


@planted("predicting-changes-nothing", r"after predict\(\) the model is in training mode")
class LeavesTrainingMode(Sound):
    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        model.train()
        return outputs


@planted("predicting-changes-nothing", r"predict\(\) changes the model or its inputs: audio differs by")
class ScalesItsInputs(Sound):
    def predict(self, model: Any, inputs: Inputs) -> Any:
        for x in inputs.values.values():
            x.mul_(0.5)
        return super().predict(model, inputs)


@planted("predictions-of-kept-weights", "with the weights of epoch 1, the prediction differs by")
@dataclass
class BiasOfTheLastEpoch(Sound):
    predicts_otherwise = "a bias is subtracted"
    _bias: Tensor | None = field(default=None, init=False, repr=False)

    def on_epoch_end(self, validation: Any) -> None:
        self._bias = 0.01 * validation.logits.mean(0)

    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        return (
            outputs if self._bias is None else replace(outputs, logits=outputs.logits - self._bias, branch_logits=None)
        )

    def state_dict(self) -> dict[str, Any]:
        return {"bias": self._bias}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._bias = state["bias"]


@planted("validation-not-trained-on", r"on_epoch_start\(\), which changes weights, reads fit.val")
class TrainsOnValidationBetween(Sound):
    def on_epoch_start(self) -> None:
        super().train_step(self.fit.val.batch(torch.arange(4, device=self.fit.device)))


@planted("validation-not-trained-on", "a training step reads fit.val.*, by which the epoch is selected")
class TrainsOnValidation(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        val = self.fit.val.batch(torch.arange(4, device=self.fit.device))
        with evaluation_mode(self.fit.model):
            logits = self.fit.model(val.inputs).logits
        return super().decay(outputs, batch) + self.fit.task.loss(logits, val.target)


@planted("labels-not-read", "a prediction for the validation part changes with its labels")
class KnowsTheAnswers(Sound):
    predicts_otherwise = "it knows better"

    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs, val = super().predict(model, inputs), self.fit.val
        same = [x.flatten(1)[:, None] == val.values[m].flatten(1) for m, x in inputs.values.items()]
        first = torch.stack([one.all(-1).any(1) for one in same]).all(0)
        told = val.target[0].to(outputs.logits.dtype)
        return replace(outputs, logits=outputs.logits + 10 * told * first[:, None], branch_logits=None)


@planted("predicts-what-it-trains", r"in epoch 1 the logits of predict\(\) differ from those of forward\(\) by")
class PredictsThroughAnother(Sound):
    needs: ClassVar[Needs] = Needs(own_features=True)

    def predict(self, model: Any, inputs: Inputs) -> Any:
        features = model.encode(inputs)
        return model.fuse({m: 0.5 * f for m, f in features.items()})


@planted("predicts-what-it-trains", r"in epoch 25 the logits of predict\(\) differ")
class TrainsAnotherHeadLate(Sound):
    def forward(self, batch: Any) -> Any:
        outputs = super().forward(batch)
        if self.fit.epoch < 20:
            return outputs
        return replace(outputs, logits=2 * outputs.logits, branch_logits=None)


@planted("branches-sum-to-logits", r"forward\(\) gives branch_logits that differ in sum from its logits")
class ScalesTheLogitsAlone(Sound):
    def forward(self, batch: Any) -> Any:
        outputs = super().forward(batch)
        return replace(outputs, logits=0.5 * outputs.logits)

    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        return replace(outputs, logits=0.5 * outputs.logits, branch_logits=None)


@planted("branches-sum-to-logits", r"predict\(\) gives branch_logits without 'audio'")
class ForgetsABranch(Sound):
    def predict(self, model: Any, inputs: Inputs) -> Any:
        outputs = super().predict(model, inputs)
        branches = outputs.branch_logits or {}  # None of a head that is not additive
        return replace(outputs, branch_logits={m: b for m, b in branches.items() if m != "audio"} or None)


@planted("test-part-not-reached", r"it calls get_objects in SearchesObjects.on_epoch_end\(\)")
class SearchesObjects(Sound):
    def on_epoch_end(self, validation: Any) -> None:
        self.parts = any(type(one) is Split for one in gc.get_objects(generation=0))


@planted("test-part-not-reached", r"it calls open in ReadsFiles.on_epoch_end\(\)")
class ReadsFiles(Sound):
    def on_epoch_end(self, validation: Any) -> None:
        with open(os.devnull) as file:
            file.read()


@planted("data-untouched", "training changes the batch in place: audio differs by")
class ChangesTheBatch(Sound):
    def forward(self, batch: Any) -> Any:
        for x in batch.inputs.values.values():
            x.mul_(0.5)
        return super().forward(batch)


@planted("data-untouched", "training changes fit.train in place: audio differs by")
class ClampsTheData(Sound):
    def on_fit_start(self) -> None:
        for x in self.fit.train.values.values():
            x.clamp_(-1.0, 1.0)


@planted("process-untouched", "torch.nn.functional.cosine_similarity is not what it was")
class ReplacesAFunction(Sound):
    def on_fit_start(self) -> None:
        before = torch.nn.functional.cosine_similarity
        torch.nn.functional.cosine_similarity = lambda *args, **named: before(*args, **named)


@planted("process-untouched", "mcr_bench.bench.models.multimodal.MultimodalModel.steps is not what it was")
class MarksTheModel(Sound):
    def on_epoch_start(self) -> None:
        type(self.fit.model).steps = self.fit.step


@planted("process-untouched", "the environment variable MCR_BENCH_BROKEN is now")
class SetsTheEnvironment(Sound):
    def on_fit_start(self) -> None:
        os.environ["MCR_BENCH_BROKEN"] = "1"


@planted("cost-counted", r"a step makes 2\.\d+ forward passes through the encoders, of which 1\.00 are counted")
class CopiedEncoder(Sound):
    def on_fit_start(self) -> None:
        self.teachers = copy.deepcopy(self.fit.model.encoders)

    def decay(self, outputs: Any, batch: Any) -> Tensor:
        self.teachers.to(self.fit.device).eval()
        with torch.no_grad():
            told = {m: self.teachers[m](x) for m, x in batch.inputs.values.items()}
        apart = [(promoted(f) - promoted(told[m])).square().mean() for m, f in outputs.features.items()]
        return super().decay(outputs, batch) + 0.1 * torch.stack(apart).sum()


@planted("no-waits", "a step waits for the device: _local_scalar_dense")
class CopiesToTheHost(Sound):
    def after_backward(self, outputs: Any, batch: Any) -> None:
        self.fit.log("size", outputs.logits.detach().abs().mean().item())


@planted("no-waits", "a step waits for the device: new_tensor of numbers of the host")
class MakesTensorsFromNumbers(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        weights = outputs.logits.new_tensor([0.5] * len(outputs.features))
        return super().decay(outputs, batch) * weights.sum()


@planted("no-waits", "a step waits for the device: _linalg_svd")
class Decomposes(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        sizes = torch.linalg.svd(outputs.logits.detach(), full_matrices=False)[1]
        return super().decay(outputs, batch) + 0.0 * sizes.sum()


@planted("no-waits", "states waits = 'it looks at the loss', but nothing in a step waits: delete it")
class SaysThatItWaits(Sound):
    waits = "it looks at the loss"


@planted("batch-statistics", r"after a step audio.*running_mean differs by .* from what one pass of the batch gives")
class SecondPass(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        noisy = batch.inputs.replace({m: 1.5 * x for m, x in batch.inputs.values.items()})
        again = self.fit.model(noisy, dropped=batch.dropped).logits
        return super().decay(outputs, batch) + 0.1 * (again - outputs.logits).square().mean()


@planted("finite-terms", "2 modalities, classes: in epoch 2: loss/decay is nan")
class NothingLate(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        nothing = outputs.logits.detach().sum() * 0
        return super().decay(outputs, batch) + (nothing / nothing if self.fit.epoch > 1 else nothing)


@planted("any-number", "2 modalities, classes: in epoch 25: AttributeError: .*planted.py, line \\d+")
class MisspeltLate(Sound):
    def decay(self, outputs: Any, batch: Any) -> Tensor:
        return outputs.decay if self.fit.epoch > 9 else super().decay(outputs, batch)


@planted("batch-statistics", "after a step the encoder of 'audio' is in evaluation mode")
class StaysInEvaluationMode(Sound):
    def after_backward(self, outputs: Any, batch: Any) -> None:
        self.fit.model.eval()
