"""What a fusion head that does not come with the harness must do, tried on features before anything is trained."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.declared import Encoder, Values, described
from mcr_bench.bench.models.kinds import fitting
from mcr_bench.bench.models.own import PARTS, OwnHead
from mcr_bench.bench.models.parts import Asked, Encoded, parts_of
from mcr_bench.bench.models.trial import anywhere, numbers, require_known_shapes, require_tensor, told, trial, what_is
from mcr_bench.bench.models.fusion import sum_of
from mcr_bench.datasets.base import Modality

SOME, ONE = 3, 1  # samples: a few to train on, and the single one that may be left for a last batch
TOLERANCE = 1e-4  # of sums of single precision


def check_head(
    cls: type[nn.Module],
    encoders: Mapping[str, Encoder],
    modalities: Mapping[str, Modality],
    width: int,
    outputs: int,
    values: Values,
) -> frozenset[str]:
    """What of "tokens" and "stages" a head reads; UserError where it cannot be made or does not do what it must."""
    names, found = list(modalities), set[str]()
    settings = "".join(f", {name}={value!r}" for name, value in values.items())
    with trial():
        with told(cls, f"cannot be made as {cls.__name__}({names}, {width}, {outputs}{settings})"):
            head = OwnHead(partial(cls, list(names), width, outputs, **values), names, width)
        _check_modules(head.head, names)
        for count in (SOME, ONE):
            head.train(count == SOME)
            features = {m: numbers((count, width), place) for place, m in enumerate(names)}
            parts = {part: _parts(part, encoders, modalities, width, count) for part in PARTS}
            with told(cls, f"forward failed on features {(count, width)} of {', '.join(names)}"):
                logits = head.head(dict(features), *(parts[part] for part in head.reads))
            require_tensor(logits, (count, outputs), "forward", "(samples, outputs)")
            found |= {part for part, asked in parts.items() if asked.asked}
        if head.additive:
            with told(cls, "branches failed"):
                _check_branches(head, names, width, outputs, [parts[part] for part in head.reads])
    return frozenset(found)


def _check_modules(head: nn.Module, names: list[str]) -> None:
    require_known_shapes(head)
    slices = getattr(head, "slices", None)
    if slices is None:
        return
    if not isinstance(slices, nn.ModuleDict):
        raise UserError(f"its `slices` is {what_is(slices)}; needed: a torch.nn.ModuleDict, modality -> module")
    for name in slices:
        if name not in names:
            raise UserError(f"its `slices` has '{name}', which is not a modality; modalities here: {', '.join(names)}")


def _parts(
    part: str, encoders: Mapping[str, Encoder], modalities: Mapping[str, Modality], width: int, count: int
) -> Asked[Any]:
    def lacking(m: str) -> UserError:
        return _lack(part, m, encoders[m], modalities[m])

    make: dict[str, Callable[[], Any] | None] = {}
    for m, encoder in encoders.items():
        has = encoder.kind.tokens if part == "tokens" else encoder.kind.stages
        make[m] = partial(_made, part, encoder, modalities[m], width, count) if has else None
    return Asked(make, lacking)


def _made(part: str, encoder: Encoder, modality: Modality, width: int, count: int) -> object:
    """Tokens or stages in the shapes that an encoder gives them."""

    def attempt() -> object:
        module = encoder.kind.make(modality, width, encoder.values).eval()
        values = torch.zeros(count, *modality.shape)
        lengths = torch.full((count,), modality.shape[0]) if modality.padded else None
        method = parts_of(module, part)
        assert method is not None, f"an encoder that declares {part} has them"
        return method(values, lengths)

    with torch.no_grad():
        given = anywhere(attempt)
    shapes = [tuple(x.shape) for x in given]  # type: ignore[attr-defined]
    if part == "tokens":
        return numbers(shapes[0]), torch.ones(shapes[1], dtype=torch.bool)
    return [numbers(shape) for shape in shapes]


def _lack(part: str, name: str, encoder: Encoder, modality: Modality) -> UserError:
    having = [k.name for k in fitting(modality) if (k.tokens if part == "tokens" else k.stages)]
    own = f"a net of your own with a method `{part}` (encoder.{name}.kind=./my_net.py:Net)"
    remedy = f"Encoders that have them for {described(modality)}: {', '.join([*having, own])}."
    return UserError(f"it reads the {part} of '{name}', whose encoder {encoder.kind.name} has none. {remedy}")


def _check_branches(head: OwnHead, names: list[str], width: int, outputs: int, parts: list[Asked[Any]]) -> None:
    """UserError unless the branches, and the bias where it is not in them, sum to the logits."""
    with torch.no_grad():
        for place, parameter in enumerate(head.parameters()):
            if parameter.is_floating_point():  # whatever the constructor draws, zeros too, the sum must hold
                parameter.copy_(0.1 + 0.05 * numbers(tuple(parameter.shape), place))
        features = {m: numbers((ONE, width), place) for place, m in enumerate(names)}
        branches = _branches(head, features, outputs)
        total = sum_of(branches) if head.bias is None else sum_of(branches) + head.bias
        logits = head.head(dict(features), *parts)
        if not torch.allclose(total, logits, TOLERANCE, TOLERANCE, equal_nan=True):
            plus = "" if head.bias is None else " and `bias`"
            raise UserError(
                f"it is `additive`, but the sum of its branches{plus} is not its logits (they differ by up to "
                f"{float((total - logits).abs().max()):.3g}). Make forward their sum, or leave `additive` out"
            )
        for m in names:
            others = {k: x if k == m else 2 * x + 1 for k, x in features.items()}
            if not torch.equal(_branches(head, others, outputs)[m], branches[m]):
                raise UserError(
                    f"it is `additive`, but its branch of '{m}' changes with the features of other modalities. Make "
                    "each branch a function of its own modality, or leave `additive` out"
                )


def _branches(head: OwnHead, features: dict[str, Tensor], outputs: int) -> dict[str, Tensor]:
    given = head.head.branches(dict(features))  # type: ignore[operator]
    if not isinstance(given, dict) or set(given) != set(features):
        told_keys = f"a dict of {sorted(map(str, given))}" if isinstance(given, dict) else what_is(given)
        raise UserError(f"branches gave {told_keys}; needed: a dict with a tensor for each of {', '.join(features)}")
    rows = len(next(iter(features.values())))
    return {m: require_tensor(x, (rows, outputs), f"branches, at '{m}',", "(samples, outputs)") for m, x in given.items()}
