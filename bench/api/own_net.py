"""A network of somebody else's as a `MultimodalModel`: its encoders, and its fusion in one of four forms."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mcr_bench.bench.api.watching import Pass
from mcr_bench.bench.core.precision import promoted
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.fusion import Fused, Fusion, sum_of
from mcr_bench.bench.models.multimodal import MultimodalModel, Role
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.task import Task

Call = Callable[[dict[str, Tensor]], object]
Modules = nn.Module | Mapping[str, nn.Module]
DIFFERENT = 0.1  # smallest difference of logits, as a share of the largest, that is not rounding, of bfloat16 neither
_UNSTEADY = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # a second call gives or changes something


class Sum(Fusion):
    """A fusion whose logits are a sum of one share per modality.

    seen: features and logits (B, C) of a pass of the owner's, which the next call is compared with.
    """

    additive = True

    def __init__(self) -> None:
        super().__init__()
        self.slices = nn.ModuleDict()
        self.seen: tuple[dict[str, Tensor], Tensor] | None = None

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branches; UserError if the owner's differ."""
        if self.seen is not None and not any(isinstance(part, _UNSTEADY) for part in self.modules()):
            given, logits = self.seen
            with torch.no_grad():
                _require_close(self.summed({m: promoted(f) for m, f in given.items()}).logits, logits)
        self.seen = None
        return self.summed(features)

    @abstractmethod
    def summed(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C) and branches."""


def _require_close(summed: Tensor, logits: Tensor) -> None:
    if summed.shape != logits.shape or bool((summed - logits).abs().max() > DIFFERENT * logits.abs().max()):
        raise UserError(
            "the logits are not the sum that `fusion` and the encoders' features give, which this method needs. The "
            "features must come in the order in which `encoders` names them; what lies between them and the fusion, "
            "such as dropout, belongs into the encoders; and logits are neither averaged nor scaled afterwards."
        )


class OnConcatenated(Sum):
    """One `nn.Linear` on the concatenated features: additive, the columns of its weight (C, sum d) being the slices.

    The weight is one parameter, so that no part of it belongs to one modality alone.
    """

    def __init__(self, linear: nn.Linear, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.linear, self.widths = linear, dict(widths)
        self.bias = linear.bias

    def summed(self, features: dict[str, Tensor]) -> Fused:
        weights = self.linear.weight.split(list(self.widths.values()), dim=1)
        branches = {m: F.linear(features[m], weight) for m, weight in zip(self.widths, weights, strict=True)}
        logits = sum_of(branches)
        return Fused(logits if self.bias is None else logits + self.bias, branches)


class SumOfBranches(Sum):
    """One module for each modality, whose logits (B, C) are added: additive, each module being its modality's slice.

    The biases of linear modules are one bias that all share, as their sum alone counts.
    """

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.slices = nn.ModuleDict(branches)
        linear = [one for one in branches.values() if isinstance(one, nn.Linear)]
        self._linear = len(linear) == len(branches)
        self._biases = [one.bias for one in linear if one.bias is not None] if self._linear else []
        if len(self._biases) == 1:
            self.bias = self._biases[0]

    def owner(self, name: str) -> str | None:
        """As of `Fusion`; nobody's for the biases of linear modules."""
        return None if self._linear and name.endswith(".bias") else super().owner(name)

    def summed(self, features: dict[str, Tensor]) -> Fused:
        if not self._linear:
            branches = {m: self.slices[m](features[m]) for m in self.slices}
            return Fused(sum_of(branches), branches)
        branches = {m: F.linear(features[m], cast(Tensor, one.weight)) for m, one in self.slices.items()}
        if self.bias is not None:
            return Fused(sum_of(branches) + self.bias, branches)
        if self._biases:
            share = torch.stack([*self._biases]).sum(0) / len(branches)
            branches = {m: z + share for m, z in branches.items()}
        return Fused(sum_of(branches), branches)


class AnyFusion(Fusion):
    """Any module, called with features as its owner called it: not additive, all of it shared.

    call: calls the module with features. known: whether the owner's forward pass has been seen, which tells how.
    made: what the owner's last pass gave. entry: where the logits are in it, if it is a tuple, a list or a mapping.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.slices = module, nn.ModuleDict()
        self.call: Call = _not_called
        self.known = False
        self.made: object = None
        self.entry: object = None

    def forward(self, features: dict[str, Tensor]) -> Fused:
        """Features (B, d) of every modality -> logits (B, C)."""
        made = self.call(features)
        return Fused(made if isinstance(made, Tensor) else _logits_in(made, self.entry), None)

    def learn(self, arguments: tuple[object, ...], features: Mapping[str, Tensor]) -> None:
        """See how the module was called: with one concatenated tensor, one tensor each, a list, or a dict by modality.

        arguments: those of the owner's call. features: what the encoders gave in that pass. After another form, methods
        that call the fusion themselves end with a UserError.
        """
        self.call, self.known = _call_of(self.module, arguments, features), True

    def find(self, logits: Tensor) -> None:
        """See which entry of what the owner's pass gave the logits (B, C) are."""
        entries = _entries(self.made)
        self.entry = next((key for key, one in entries if one is logits), None)
        self.made = None


def _entries(made: object) -> list[tuple[object, object]]:
    """Key or place, and value, of what a mapping, a tuple or a list holds."""
    if isinstance(made, Mapping):
        return list(made.items())
    return list(enumerate(made)) if isinstance(made, list | tuple) else []


def _logits_in(made: object, entry: object) -> Tensor:
    one = dict(_entries(made)).get(entry)
    if not isinstance(one, Tensor):
        raise UserError(
            f"the fusion gives a {type(made).__name__}, and the logits are none of its entries as they are. Call "
            "`backward` with one of them, or give a fusion that returns the logits alone."
        )
    return one


def _not_called(_: dict[str, Tensor]) -> object:
    raise UserError("the fusion has not been called yet. Make a forward pass in training mode first.")


def _called_otherwise(_: dict[str, Tensor]) -> object:
    raise UserError(
        "the fusion was not called with the encoders' features. It may get them one by one, as a list, as a dict by "
        "modality, or concatenated along the last axis, in the order in which `encoders` names them and unchanged."
    )


def _call_of(module: nn.Module, arguments: tuple[object, ...], features: Mapping[str, Tensor]) -> Call:
    names, first = list(features), arguments[0] if arguments else None
    if len(arguments) == len(names) and _are(arguments, features.values()):
        return lambda given: module(*(given[m] for m in names))
    if len(arguments) == 1 and isinstance(first, Mapping) and _are([first.get(m) for m in names], features.values()):
        return lambda given: module({m: given[m] for m in names})
    if len(arguments) == 1 and isinstance(first, list | tuple) and _are(first, features.values()):
        return lambda given: module([given[m] for m in names])
    if len(arguments) == 1 and isinstance(first, Tensor) and _is_joined(first, list(features.values())):
        return lambda given: module(torch.cat([given[m] for m in names], dim=-1))
    return _called_otherwise


def _are(given: object, features: object) -> bool:
    one, other = list(cast(list[Tensor], given)), list(cast(list[Tensor], features))
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _is_joined(given: Tensor, features: list[Tensor]) -> bool:
    width = sum(one.shape[-1] for one in features)
    return given.shape[-1] == width and torch.equal(given.detach(), torch.cat([f.detach() for f in features], dim=-1))


def fusion_of(given: Modules, encoders: Mapping[str, nn.Module], widths: Mapping[str, int]) -> Fusion:
    """A fusion head of this package that computes what the given one does; UserError for other modalities."""
    if isinstance(given, Fusion):
        return given
    if isinstance(given, nn.Linear):
        return OnConcatenated(given, {m: widths[m] for m in encoders})
    branches = _branches(given)
    if branches is None:
        return AnyFusion(cast(nn.Module, given))
    if set(branches) != set(encoders):
        raise UserError(f"fusion has the modalities {', '.join(branches)}; the encoders have {', '.join(encoders)}.")
    return SumOfBranches({m: branches[m] for m in encoders})


def widths_of(fusion: Modules, encoders: Mapping[str, nn.Module]) -> dict[str, int]:
    """Modality -> the number of its features, as far as the fusion tells it; of one `nn.Linear` in equal parts."""
    if isinstance(fusion, nn.Linear):
        return {m: fusion.in_features // len(encoders) for m in encoders}
    return {m: one.in_features for m, one in (_branches(fusion) or {}).items() if isinstance(one, nn.Linear)}


def outputs_of(fusion: Modules) -> int:
    """The number of logits that the fusion gives; UserError where it does not tell it."""
    first = fusion if isinstance(fusion, nn.Linear) else next(iter((_branches(fusion) or {}).values()), None)
    if isinstance(first, nn.Linear):
        return first.out_features
    raise UserError("the fusion does not tell how many classes there are. Give task=N.")


def _branches(fusion: Modules) -> Mapping[str, nn.Module] | None:
    """Modality -> the module whose logits are added; None for a single module."""
    if isinstance(fusion, nn.ModuleDict):
        return dict(fusion.items())
    return None if isinstance(fusion, nn.Module) else fusion


class OwnNet(MultimodalModel):
    """The network of a user's own training loop. What its encoders gave in the last pass is not computed again.

    passes: the last training pass of each encoder, by modality.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: Fusion,
        task: Task,
        heads: Mapping[str, nn.Module],
        width: int,
    ) -> None:
        super().__init__(encoders, fusion, width, task)
        self.own_heads = nn.ModuleDict(heads)
        self.passes: dict[str, Pass] = {}

    def encode_one(self, modality: str, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features (B, d); for the input of the last pass those of that pass."""
        last = self.passes.get(modality)
        if last is None:
            return cast(Tensor, self.encoders[modality](values))
        if last.inputs and values is last.inputs[0]:
            return last.features
        if len(last.inputs) > 1:
            raise UserError(
                f"the encoder of '{modality}' takes {len(last.inputs)} arguments, and this method runs it on inputs of "
                "its own. Give an encoder that takes one tensor."
            )
        encoder = self.encoders[modality]
        return cast(Tensor, encoder(**dict.fromkeys(last.named, values)) if last.named else encoder(values))

    def encode(self, inputs: Inputs) -> dict[str, Tensor]:
        """Features (B, d) of every modality."""
        return {m: self.encode_one(m, inputs.values[m]) for m in self.encoders}

    def parameters_of(self, modality: str | None, *roles: Role) -> list[nn.Parameter]:
        """As of `MultimodalModel`; UserError for a modality's part of one `nn.Linear` on all features."""
        if modality is not None and "fusion_slice" in roles and isinstance(self.fusion, OnConcatenated):
            raise UserError(
                "this method acts on the part of the fusion that belongs to one modality. Give `fusion` as a mapping "
                "modality -> nn.Linear, whose logits you add."
            )
        return super().parameters_of(modality, *roles)

    def added(self) -> Iterator[nn.Parameter]:
        """The parameters of own heads and of what the method added, which the network itself does not have."""
        yield from (*self.own_heads.parameters(), *self.extras.parameters())
