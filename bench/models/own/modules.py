"""Encoders and fusion heads that do not come with the harness, as modules of the model."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of
from mcr_bench.bench.models.layout import LaidOut
from mcr_bench.bench.models.over_time import time_mask
from mcr_bench.bench.models.own.registered import OF_TORCH
from mcr_bench.bench.models.own.signature import positional, takes
from mcr_bench.bench.models.parts import PARTS, Asked, Encoded, Tokens, not_encoded

Make = Callable[[], nn.Module]
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic, Tensor, torch.dtype, torch.Size)


class OwnNet(LaidOut):
    """The encoder of one modality. `make()` gives the net, whose constructor decides its weights.

    Padding is 0 in what it sees; the lengths (B,) of padded samples it is given where its `forward` takes `lengths`.
    """

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.net, self._make = make(), make

    def draw_all(self) -> None:
        """Draw weights and buffers; `seeds.initialise` calls it under this module's own stream."""
        redraw(self.net, self._make)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values (B, ...) -> features (B, d)."""
        x, named = self._inputs("forward", values, lengths)
        features: Tensor = self.net(x, **named)
        return features

    def has(self, part: str) -> bool:
        """Whether the net gives tokens, stages, or the lengths of stages."""
        return callable(getattr(self.net, part, None))

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> Tokens:
        """Features (B, T, d) of parts of a sample and a mask (B, T), True on those that are real."""
        x, named = self._inputs("tokens", values, lengths)
        given: Tokens = self.net.tokens(x, **named)  # type: ignore[operator]
        return given

    def stages(self, values: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """The outputs of the net's stages, (B, ...) each."""
        x, named = self._inputs("stages", values, lengths)
        given: list[Tensor] = self.net.stages(x, **named)  # type: ignore[operator]
        return given

    def stage_lengths(self, lengths: Tensor) -> list[Tensor]:
        """(B,) steps of padded samples -> (B,) steps of every stage."""
        given: list[Tensor] = self.net.stage_lengths(lengths)  # type: ignore[operator]
        return given

    def _inputs(self, method: str, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, dict[str, Tensor | None]]:
        """What a method of the net is given: values whose padding is 0, and lengths where it takes them."""
        told = takes(getattr(type(self.net), method), "lengths")
        return self.laid_out(zero_padded(values, lengths)), {"lengths": lengths} if told else {}


class OwnHead(Fusion):
    """A fusion head; `make()` gives the module, whose constructor decides its weights.

    The logits of an additive one are the sum of its branches, plus its `bias` where the branches do not hold it.
    """

    def __init__(self, make: Make, modalities: Sequence[str], width: int) -> None:
        nn.Module.__init__(self)
        self.head, self._make = make(), make
        self.additive = bool(getattr(self.head, "additive", False))
        self.reads = reads(type(self.head))
        self._bias_apart = self.additive and bias_is_apart(self.head, modalities, width)

    @property
    def bias(self) -> nn.Parameter | None:  # type: ignore[override]
        """The head's parameter `bias` where it is additive and its branches do not hold it."""
        bias = getattr(self.head, "bias", None)
        return bias if self._bias_apart and isinstance(bias, nn.Parameter) else None

    @property
    def slices(self) -> nn.ModuleDict:  # type: ignore[override]
        """The modules that belong to one modality each."""
        given = getattr(self.head, "slices", None)
        return given if isinstance(given, nn.ModuleDict) else nn.ModuleDict()

    def draw_all(self) -> None:
        """Draw weights and buffers; `seeds.initialise` calls it under this module's own stream."""
        redraw(self.head, self._make)

    def owner(self, name: str) -> str | None:
        """The modality that owns the parameter `name` (qualified inside this module), None for shared ones."""
        return super().owner(name.removeprefix("head."))

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C), and branch logits (B, C) where the head is additive."""
        if not self.additive:
            return Fused(self.head(dict(features), *self._parts(features)), None)
        branches = self.head.branches(dict(features))  # type: ignore[operator]
        total = sum_of(branches)
        return Fused(total if self.bias is None else total + self.bias, branches)

    def _parts(self, features: dict[str, Tensor]) -> list[Mapping[str, object]]:
        if isinstance(features, Encoded):
            return [getattr(features, part) for part in self.reads]
        return [Asked(dict.fromkeys(features), partial(not_encoded, part)) for part in self.reads]


def reads(head: type[nn.Module]) -> tuple[str, ...]:
    """What of tokens and stages a head's `forward` takes after the features: by name, else tokens, then stages."""
    names = positional(head.forward)[1 : 1 + len(PARTS)]
    return tuple(name if name in PARTS else PARTS[place] for place, name in enumerate(names))


def zero_padded(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, T, ...) with 0 after the end of each sample."""
    if lengths is None:
        return values
    padding = ~time_mask(lengths, values.shape[1])
    return values.masked_fill(padding.reshape(*padding.shape, *[1] * (values.ndim - 2)), 0.0)


def bias_is_apart(head: nn.Module, modalities: Sequence[str], width: int) -> bool:
    """Whether the head has a bias (C,) that its branches do not hold: they are the same whatever it is."""
    bias = getattr(head, "bias", None)
    if not isinstance(bias, nn.Parameter):
        return False
    features = {m: torch.zeros(2, width, dtype=bias.dtype, device=bias.device) for m in modalities}
    before, sums = bias.data, []
    modes = [(module, module.training) for module in head.modules()]
    head.eval()
    try:
        with torch.no_grad():
            for value in (0.0, 1.0):
                bias.data = torch.full_like(before, value)
                sums.append(sum_of(head.branches(features)))  # type: ignore[operator]
    finally:
        bias.data = before
        for module, training in modes:
            module.training = training
    return bool(torch.equal(*sums))


def redraw(module: nn.Module, make: Make) -> None:
    """Give `module` the parameters, buffers and plain attributes of a module that `make` has just made.

    Draws of NumPy and of Python in the constructor follow torch's default generator, and leave no trace.
    """
    before = random.getstate(), np.random.get_state()
    seed = int(torch.randint(2**32, ()))
    random.seed(seed)
    np.random.seed(seed)
    try:
        fresh = make()
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    drawn = {**dict(fresh.named_parameters()), **dict(fresh.named_buffers())}
    with torch.no_grad():
        for name, tensor in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
            if name not in drawn or drawn[name].shape != tensor.shape:
                raise TypeError(f"'{name}' of {type(module).__name__} is not what its constructor makes")
            tensor.copy_(drawn[name])
    inner = dict(fresh.named_modules())
    for name, part in module.named_modules():
        if name in inner and not type(part).__module__.startswith("torch."):
            vars(part).update({key: value for key, value in vars(inner[name]).items() if _is_plain(key, value)})


def _is_plain(key: str, value: object) -> bool:
    """Whether an attribute of a module holds numbers, texts and tensors that it does not train, as drawn indices."""
    if key in OF_TORCH:
        return False
    return all(isinstance(leaf, PLAIN) and not isinstance(leaf, nn.Parameter) for leaf in tree_leaves(value))
