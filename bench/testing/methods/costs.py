"""Properties of what a step costs, and of what it leaves behind in the model; and what the card says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings
from mcr_bench.bench.testing.card import Failed, NotApplicable, Property
from mcr_bench.bench.testing.fits import whole_batch
from mcr_bench.bench.testing.trials.epochs import begun, step
from mcr_bench.bench.testing.trials.gates import sound
from mcr_bench.bench.testing.trials.setups import Plain, Setup
from mcr_bench.bench.testing.trials.trials import Trials
from mcr_bench.bench.testing.waits import waits
from mcr_bench.methods.base import Method

INPUT, HIDDEN = 11, 13  # sizes of the encoders' first layer that no other layer has
SLACK = 0.02  # share of a pass that may be hidden
PASSES = ("forward", "backward")


class Multiplied(TorchDispatchMode):
    """Inside the block, rows are counted that pass through layers INPUT -> HIDDEN, forward and backward.

    A backward pass makes the gradient of the layer's weight, the product of (HIDDEN, rows) and (rows, INPUT).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = dict.fromkeys(PASSES, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm"):
            a, b = args[-2:]
            shape = (a.shape[0], b.shape[1])
            if tuple(b.shape) == (INPUT, HIDDEN):
                self.rows["forward"] += a.shape[0]
            elif shape in ((HIDDEN, INPUT), (INPUT, HIDDEN)):
                self.rows["backward"] += a.shape[1]
        return func(*args, **(kwargs or {}))


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Inside the block, the bytes are added up that are kept for backward passes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[tuple[int, int]] = set()
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        place = (tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
        if place not in self._seen:
            self._seen.add(place)
            self.bytes += place[1]
        return tensor


def _setup(trials: Trials) -> Setup:
    return replace(trials.usual, width=INPUT, encoder=build(EncoderSettings, {"width": HIDDEN}))


def _passes(method: Method) -> tuple[dict[str, float], dict[str, float], int]:
    """Passes of all encoders per step, as they are made and as the meters count them; and the bytes that are kept."""
    fit, batch = begun(method).fit, whole_batch(method.fit)
    kept = Kept()
    fit.meters.means()
    with fit.meters.watching(fit.model, len(batch.target)), Multiplied() as made, kept:
        step(method, batch)
    counted, whole = fit.meters.means(), len(batch.target) * len(fit.model.encoders)
    return (
        {name: rows / whole for name, rows in made.rows.items()},
        {name: counted[f"encoder_passes/{name}"] for name in PASSES},
        kept.bytes,
    )


@sound
def cost_counted(trials: Trials) -> None:
    """All passes through the encoders are seen by the meters."""
    made, counted, _ = _passes(trials.start(_setup(trials)))
    for name in PASSES:
        if made[name] > counted[name] + SLACK:
            raise Failed(
                f"a step makes {made[name]:.2f} {name} passes through the encoders, of which {counted[name]:.2f} are "
                "counted"
            )


@sound
def without_waits(trials: Trials) -> None:
    """No step makes the host wait for a GPU."""
    method = trials.start(replace(trials.usual, training={"optimizer__name": "adamw", "clip_norm": 1.0}))
    try:
        seen = waits(method)
    except Exception as error:
        raise Failed(f"a step on tensors without values fails, as it needs their values: {error}") from error
    if trials.cls.waits and not seen:
        raise Failed(f"it states waits = {trials.cls.waits!r}, but nothing in a step waits: delete it")
    if trials.cls.waits:
        raise NotApplicable(f"it states why it waits: {trials.cls.waits}")
    if seen:
        raise Failed(f"a step waits for the device: {seen[0]}")


@dataclass(frozen=True)
class StepCost:
    """What a step of a method costs, beside one of joint training on the same data.

    passes: forward and backward -> passes of all encoders.
    joint: the same of joint training.
    memory: the bytes kept for the backward pass, over those of joint training.
    """

    passes: Mapping[str, float]
    joint: Mapping[str, float]
    memory: float


def step_cost(trials: Trials) -> StepCost | None:
    """The cost of the first step; None for a method that trains nothing itself, or cannot be trained."""
    if not trials.cls.trains or trials.trouble:
        return None
    setup = _setup(trials)
    method = trials.start(setup)
    plain = trials.start(replace(setup, modalities=tuple(method.fit.model.modalities)), cls=Plain)
    _, counted, kept = _passes(method)
    _, of_plain, kept_of_plain = _passes(plain)
    return StepCost(counted, of_plain, kept / kept_of_plain)


def cost_notes(trials: Trials) -> tuple[tuple[str, str], ...]:
    """What a step of the method costs, in words."""
    if (cost := step_cost(trials)) is None:
        return ()
    told = [(f"encoder {n} passes per step", f"{cost.passes[n]:.2f} (joint: {cost.joint[n]:.2f})") for n in PASSES]
    return (*told, ("memory kept for the backward pass", f"{cost.memory:.2f} times that of joint"))


PROPERTIES = (
    Property(
        "cost-counted",
        "every pass through an encoder is counted",
        "Call encoders through fit.model: model(inputs), encode, encode_one. A copy of an encoder is called by nobody "
        "who counts: tell it, for watcher in fit.model.watchers: watcher(features).",
        cost_counted,
    ),
    Property(
        "no-waits",
        "no training step makes the host wait for a GPU",
        "Leave out .item(), float(tensor), numpy, `if tensor:` and indexing by masks; log tensors as they are, and use "
        "torch.where; make new tensors on the device of those that they meet: x.new_zeros(...), device=x.device, "
        "but torch.tensor and new_tensor once, not in every step. Where it cannot be avoided say why: "
        'waits = "...". '
        "mcr_bench.bench.testing.waits lists all places.",
        without_waits,
    ),
)
