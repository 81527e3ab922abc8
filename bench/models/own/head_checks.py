"""What a fusion head that does not come with the harness must do, tried on features before anything is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import Encoder, Values
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.bench.models.kinds import lacks_part
from mcr_bench.bench.models.own.modules import OwnHead
from mcr_bench.bench.models.own.registered import require_made, require_registered, state_of
from mcr_bench.bench.models.own.trial import (
    anywhere,
    blank,
    numbers,
    require_tensor,
    told,
    trial,
    what_is,
)
from mcr_bench.bench.models.parts import Asked, Tokens, stages_of, tokens_of
from mcr_bench.bench.problem.facts import Modality

T = TypeVar("T")
SOME, ONE = 3, 1  # samples: a few to train on, and the single one that may be left for a last batch
TOLERANCE = 1e-4  # of sums of single precision


class NotAdditive(UserError):
    """A head declares itself additive, and its branches are not what this means."""


def check_head(
    cls: type[nn.Module],
    encoders: Mapping[str, Encoder],
    modalities: Mapping[str, Modality],
    width: int,
    outputs: int,
    values: Values,
) -> frozenset[str]:
    """What of "tokens" and "stages" a head reads; UserError where it cannot be made or does not do what it must."""
    names, asked_for = list(modalities), set[str]()
    settings = "".join(f", {name}={value!r}" for name, value in values.items())
    with trial():
        with told(cls, f"cannot be made as {cls.__name__}({names}, {width}, {outputs}{settings})"):
            head = OwnHead(partial(cls, list(names), width, outputs, **values), names, width)
        _check_modules(head.head, names)
        before = state_of(head.head)
        for count in (SOME, ONE):
            head.train(count == SOME)
            features = {m: numbers((count, width), place) for place, m in enumerate(names)}
            tokens, stages = _asked({m: _Stand(encoders[m], modalities[m], width, count) for m in names})
            given = [tokens if part == "tokens" else stages for part in head.reads]
            if head.additive:
                with told(cls, "branches failed"):
                    _branches(head, features, outputs)
            with told(cls, f"forward failed on features {(count, width)} of {', '.join(names)}"):
                logits = head.head(dict(features), *given)
            require_tensor(logits, (count, outputs), "forward", "(samples, outputs)")
            asked_for |= {part for part, asked in (("tokens", tokens), ("stages", stages)) if asked.asked}
        if head.additive:
            with told(cls, "branches failed"):
                _check_branches(head, names, width, outputs, given)
        require_made(head.head, before)
    return frozenset(asked_for)


def _check_modules(head: nn.Module, names: list[str]) -> None:
    require_registered(head)
    slices = getattr(head, "slices", None)
    if slices is None:
        return
    if not isinstance(slices, nn.ModuleDict):
        raise UserError(f"its `slices` is {what_is(slices)}; needed: a torch.nn.ModuleDict, modality -> module")
    for name in slices:
        if name not in names:
            raise UserError(f"its `slices` has '{name}', which is not a modality; modalities here: {', '.join(names)}")


@dataclass(frozen=True)
class _Stand:
    """An encoder that is tried with a head, on tensors of the shapes that it will have.

    encoder: the encoder.
    modality: its modality.
    width: the width d of its features.
    count: the number of samples.
    """

    encoder: Encoder
    modality: Modality
    width: int
    count: int

    def tokens(self) -> Tokens:
        features, mask = self._tried(tokens_of)
        return numbers(tuple(features.shape)), torch.ones(mask.shape, dtype=torch.bool)

    def stages(self) -> list[Tensor]:
        return [numbers(tuple(stage.shape)) for stage in self._tried(stages_of)]

    def _tried(self, give: Callable[[nn.Module, Tensor, Tensor | None], T]) -> T:
        def attempt() -> T:
            module = self.encoder.kind.make(self.modality, self.width, self.encoder.values).eval()
            values = blank(self.count, self.modality)
            padded = self.modality.padded
            return give(module, values, torch.full((self.count,), self.modality.shape[0]) if padded else None)

        with torch.no_grad():
            return anywhere(attempt)


def _asked(stands: Mapping[str, _Stand]) -> tuple[Asked[Tokens], Asked[list[Tensor]]]:
    tokens = {m: stand.tokens if stand.encoder.kind.tokens else None for m, stand in stands.items()}
    stages = {m: stand.stages if stand.encoder.kind.stages else None for m, stand in stands.items()}
    return Asked(tokens, _lacking("tokens", stands)), Asked(stages, _lacking("stages", stands))


def _lacking(part: str, stands: Mapping[str, _Stand]) -> Callable[[str], UserError]:
    return lambda m: lacks_part("it", part, m, stands[m].encoder, stands[m].modality)


def _check_branches(head: OwnHead, names: list[str], width: int, outputs: int, given: Sequence[object]) -> None:
    """UserError unless the branches, and the bias where it is not in them, sum to the logits."""
    with torch.no_grad():
        for place, parameter in enumerate(head.parameters()):
            if parameter.is_floating_point():  # whatever the constructor draws, zeros too, the sum must hold
                parameter.copy_(0.1 + 0.05 * numbers(tuple(parameter.shape), place))
        features = {m: numbers((ONE, width), place) for place, m in enumerate(names)}
        branches = _branches(head, features, outputs)
        total = sum_of(branches) if head.bias is None else sum_of(branches) + head.bias
        logits = head.head(dict(features), *given)
        if not torch.allclose(total, logits, TOLERANCE, TOLERANCE, equal_nan=True):
            plus = "" if head.bias is None else " and `bias`"
            raise NotAdditive(
                f"it is `additive`, but the sum of its branches{plus} is not its logits (they differ by up to "
                f"{float((total - logits).abs().max()):.3g}). Make forward their sum, or leave `additive` out"
            )
        for m in names:
            others = {k: x if k == m else 2 * x + 1 for k, x in features.items()}
            if not torch.equal(_branches(head, others, outputs)[m], branches[m]):
                raise NotAdditive(
                    f"it is `additive`, but its branch of '{m}' changes with the features of other modalities. Make "
                    "each branch a function of its own modality, or leave `additive` out"
                )


def _branches(head: OwnHead, features: dict[str, Tensor], outputs: int) -> dict[str, Tensor]:
    given = head.head.branches(dict(features))  # type: ignore[operator]
    if not isinstance(given, dict) or set(given) != set(features):
        told_keys = f"a dict of {sorted(map(str, given))}" if isinstance(given, dict) else what_is(given)
        raise UserError(f"branches gave {told_keys}; needed: a dict with a tensor for each of {', '.join(features)}")
    wanted, meaning = (len(next(iter(features.values()))), outputs), "(samples, outputs)"
    return {m: require_tensor(x, wanted, f"branches, at '{m}',", meaning) for m, x in given.items()}
