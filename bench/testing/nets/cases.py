"""The cases on which a net is checked: a model around it, samples, and the property that must hold in every case."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.own.modules import zero_padded
from mcr_bench.bench.models.own.trial import trial
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property

WIDTH, OUTPUTS = 6, 3  # of the features, and of the logits
RATE, STEPS = 1e-2, 3
ALL_CASES, SAMPLES = 99, 8
TOLERANCE = 1e-4  # of features and logits of single precision, relative and absolute
C = TypeVar("C", bound="NetCase")
C_in = TypeVar("C_in", bound="NetCase", contravariant=True)


@dataclass(frozen=True, eq=False)
class NetCase(ABC):
    """A net in a model that is as small as possible, with the samples that it is checked on.

    label: the case in words, such as "samples (16, 3)".
    modalities: the modalities of the model.
    """

    label: str
    modalities: Mapping[str, Modality]

    @abstractmethod
    def model(self) -> MultimodalModel:
        """A new model around the net, whose weights are not yet drawn."""

    @abstractmethod
    def part(self, model: MultimodalModel) -> nn.Module:
        """The net in a model."""

    @abstractmethod
    def outputs(self, model: MultimodalModel, inputs: Inputs) -> Tensor:
        """What the net gives for B samples, (B, K)."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number K of outputs of a sample."""

    @abstractmethod
    def refusal(self) -> str:
        """Why the net cannot be used in this case, as found before any training; '' if it can."""

    def further(self, model: MultimodalModel, inputs: Inputs) -> list[Tensor]:
        """What the net gives for B samples beside its outputs, (B, ...) each."""
        return []

    def without(self, model: MultimodalModel, inputs: Inputs, modality: str) -> Tensor:
        """What the net gives (B, K) where every sample lacks a modality: its mean input, 0, stands in its place."""
        return self.outputs(model, inputs.replace({modality: torch.zeros_like(inputs.values[modality])}))

    def single_pass(self, model: MultimodalModel) -> Callable[[], object]:
        """A pass of the net alone over one sample."""
        inputs = self.inputs(1)
        return lambda: self.outputs(model, inputs)

    @property
    @abstractmethod
    def waits(self) -> str:
        """The reason that the net states for making the host wait for a GPU; '' if it states none."""

    @property
    def waits_if_anywhere(self) -> bool:
        """Whether a net that waits in some case does so in this one."""
        return any(modality.padded for modality in self.modalities.values())

    @property
    def trains_all(self) -> bool:
        """Whether every parameter has an effect in this case."""
        return True

    @cached_property
    def refused(self) -> str:
        """`refusal`, asked once."""
        return self.refusal()

    def drawn(self, seed: int = 0) -> MultimodalModel:
        """A new model with the initial weights of a seed."""
        model = self.model()
        initialise(model, seed)
        return model

    def inputs(self, count: int, place: int = 0) -> Inputs:
        """So many samples (B, ...), others for another `place`; padded ones have different lengths, 1 and T among them.

        A single sample has all steps.
        """
        values, lengths = {}, {}
        for m, modality in self.modalities.items():
            draw = generator(place, "data", m, count)
            values[m] = drawn_values(count, modality, draw)
            if modality.padded:
                steps = modality.shape[0]
                lengths[m] = torch.tensor([steps, 1, *(1 + (5 * n + place) % steps for n in range(count))][:count])
                values[m] = zero_padded(values[m], lengths[m])
        return Inputs(values, lengths)

    @cached_property
    def ready(self) -> "Ready":
        """A model that was trained for a few steps, made once: it is looked at, and not changed."""
        model = self.drawn()
        before = {name: p.detach().clone() for name, p in self.part(model).named_parameters()}
        return Ready(before, self.trained(model))

    def trained(self, model: MultimodalModel, steps: int = STEPS) -> MultimodalModel:
        """The model after a few steps of Adam that move outputs, and what else the net gives, to random targets."""
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], RATE)
        model.train()
        for place in range(steps):
            optimizer.zero_grad()
            backward(loss_of(self, model, self.inputs(SAMPLES, place), whole=True))
            optimizer.step()
        return model


class Ready(NamedTuple):
    """A model that was trained for a few steps.

    before: the initial values of the net's parameters, by name.
    model: the model.
    """

    before: dict[str, Tensor]
    model: MultimodalModel


def drawn_values(count: int, modality: Modality, draw: torch.Generator) -> Tensor:
    """So many samples (count, ...): normal numbers, or ids of words."""
    shape = (count, *modality.shape)
    if modality.vocabulary:
        return torch.randint(1, modality.vocabulary, shape, generator=draw)
    return torch.randn(shape, generator=draw)


def loss_of(case: NetCase, model: MultimodalModel, inputs: Inputs, whole: bool = False) -> Tensor:
    """The squared distance () of what the net gives from random targets; whole: of its further outputs too."""
    given = [case.outputs(model, inputs), *(case.further(model, inputs) if whole else [])]
    total = torch.zeros((), device=given[0].device)
    for place, x in enumerate(given):
        draw = generator(place, "data", "targets")
        total = (
            total + (x.float() - torch.randn(x.shape, generator=draw).to(x.device, non_blocking=True)).square().mean()
        )
    return total


def backward(loss: Tensor) -> None:
    """The backward pass of a loss (), which a net without parameters to train has none of."""
    if loss.requires_grad:
        loss.backward()


def rows(inputs: Inputs, index: list[int]) -> Inputs:
    """Some of the samples."""
    return Inputs({m: x[index] for m, x in inputs.values.items()}, {m: n[index] for m, n in inputs.lengths.items()})


def differ(first: Tensor, second: Tensor) -> str:
    """By how much two tensors of one shape differ, in words; '' if by no more than rounding."""
    if torch.allclose(first, second, TOLERANCE, TOLERANCE, equal_nan=True):
        return ""
    return f"by up to {float((first - second).abs().max()):.3g}"


@dataclass(frozen=True)
class Cases(Generic[C]):
    """A net with all its cases.

    of: the cases.
    """

    of: tuple[C, ...]


@dataclass(frozen=True)
class NetProperty(Generic[C_in]):
    """A property that a net must have in every case.

    name, promise, hint: as of `Property`.
    check: looks at one case; what the net changes in the process meanwhile is undone.
    most: how many of the cases are looked at, the first ones, where more would tell nothing else.
    """

    name: str
    promise: str
    hint: str
    check: Callable[[C_in], None]
    most: int = ALL_CASES

    def of_cases(self) -> Property[Cases[C_in]]:
        """The property of a net with all its cases."""
        return Property(self.name, self.promise, self.hint, lambda cases: _every(self.check, cases.of[: self.most]))


def _every(check: Callable[[C], None], cases: Sequence[C]) -> None:
    reasons = [_reason(check, case) for case in cases]
    if all(reasons):
        raise NotApplicable(reasons[0])


def _reason(check: Callable[[C], None], case: C) -> str:
    """Why a property does not apply to a case; '' where it holds. `Failed` names the case."""
    if case.refused and check is not usable:
        return "it cannot be used as it is; see the property `usable`"
    try:
        with trial():
            torch.set_num_threads(1)  # more of them only wait for each other on small tensors
            check(case)
    except NotApplicable as reason:
        return str(reason)
    except Failed as reason:
        raise Failed(f"{case.label}: {reason}") from reason
    return ""


def usable(case: NetCase) -> None:
    """It can be made, and gives what it must."""
    if case.refused:
        raise Failed(case.refused)
