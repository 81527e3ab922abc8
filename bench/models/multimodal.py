"""MultimodalModel: encoders, own unimodal heads and a fusion head over N modalities, and what a forward pass gives."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from mcr_bench.bench.core.precision import full_precision, promoted
from mcr_bench.bench.errors import unknown
from mcr_bench.bench.models.dropped import Fill, Flags, without
from mcr_bench.bench.models.fusion import Fusion
from mcr_bench.bench.models.memory import EncoderMemory, recalled
from mcr_bench.bench.models.parts import encoded
from mcr_bench.bench.problem.samples import Inputs as Inputs
from mcr_bench.bench.task import Task

Role = Literal["encoder", "own_head", "fusion_slice", "fusion_shared", "method"]
ROLES = get_args(Role)


class Owner(NamedTuple):
    """The owner of a parameter.

    modality: the modality that it belongs to; None for a parameter that modalities share.
    role: what it is a part of: encoder, own_head, fusion_slice, fusion_shared, or method.
    """

    modality: str | None
    role: Role


@dataclass
class Outputs:
    """The outputs of a forward pass of B samples; own logits and split logits are computed only if they are read.

    model: the model.
    features: modality -> (B, d).
    logits: (B, C).
    branch_logits: modality -> its share (B, C) of the logits without the bias; None if the fusion head is not additive.
    """

    model: "MultimodalModel"
    features: dict[str, Tensor]
    logits: Tensor
    branch_logits: dict[str, Tensor] | None

    @cached_property
    def own_logits(self) -> dict[str, Tensor]:
        """Own unimodal heads' logits, modality -> (B, C), in full precision even under autocast."""
        with full_precision(self.logits.device):
            return {m: self.model.own_heads[m](promoted(f)) for m, f in self.features.items()}

    @cached_property
    def split_logits(self) -> dict[str, Tensor] | None:
        """Modality -> its share (B, C) of the logits, branch + bias / M, which sum to them; None if not additive."""
        if self.branch_logits is None or self.model.fusion.bias is None:
            return self.branch_logits
        share = self.model.fusion.bias / len(self.branch_logits)
        return {m: s + share for m, s in self.branch_logits.items()}


class MultimodalModel(nn.Module):
    """Encoders (x_m -> features (B, d)), own heads, a fusion head; `extras` holds modules that a method adds.

    watchers: called with what an encoder pass for tokens or stages gives, (B, ...).
    memory: what encoders gave for inputs that come again; None outside `remembering`.
    heeded: the modalities that `drop` was given, by which the training loop sees that a step heeds `Batch.dropped`.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], fusion: Fusion, width: int, task: Task) -> None:
        super().__init__()
        self.task, self.width = task, width
        self.encoders = nn.ModuleDict(encoders)
        self.own_heads = nn.ModuleDict({m: nn.Linear(width, task.outputs) for m in encoders})
        self.fusion: Fusion = fusion
        self.extras = nn.ModuleDict()
        self.watchers: list[Callable[[Tensor], None]] = []
        self.memory: EncoderMemory | None = None
        self.heeded: set[str] = set()

    @property
    def modalities(self) -> list[str]:
        return list(self.encoders)

    def encode_one(self, modality: str, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features (B, d) of one modality."""
        encoder = self.encoders[modality]
        features: Tensor = recalled(
            self.memory, "features", encoder, values, lengths, partial(encoder, values, lengths)
        )
        return features

    @contextmanager
    def remembering(self, memory: EncoderMemory | None) -> Iterator[None]:
        """Inside the block an encoder does not run again for the very tensors that it has been given before."""
        before, self.memory = self.memory, memory
        try:
            yield
        finally:
            self.memory = before

    def encode(self, inputs: Inputs) -> dict[str, Tensor]:
        """Features (B, d) of every modality; tokens and stages come along where the fusion head reads them."""
        features = {m: self.encode_one(m, inputs.values[m], inputs.lengths.get(m)) for m in self.encoders}
        if not getattr(self.fusion, "reads", ()):  # a method may have put any module in its place
            return features
        return encoded(features, dict(self.encoders), inputs.values, inputs.lengths, self._watched, self.memory)

    def _watched(self, made: Tensor) -> None:
        """Tell those who count encoder passes of one for tokens or stages."""
        for watcher in self.watchers:
            watcher(made)

    def fuse(self, features: dict[str, Tensor]) -> Outputs:
        """The outputs for features (B, d) of every modality."""
        fused = self.fusion(features)
        return Outputs(self, features, fused.logits, fused.branch_logits)

    def drop(
        self, features: dict[str, Tensor], dropped: Flags, fill: Fill = "zero", present: Flags | None = None
    ) -> dict[str, Tensor]:
        """Features (B, d) as the fusion head gets them where modalities are dropped (`bench.models.dropped.without`).

        dropped: modality -> (B,) bool. fill: zeros, or the mean over the other samples of the batch that have the
        modality. present: modality -> (B,) bool, the samples that have it, if some lack it.
        """
        self.heeded.update(dropped)
        return without(features, dropped, fill, present)

    def forward(self, inputs: Inputs, dropped: Flags | None = None, fill: Fill = "zero") -> Outputs:
        """The outputs for inputs of B samples; dropped, fill: as of `drop`."""
        features = self.encode(inputs)
        return self.fuse(self.drop(features, dropped, fill, inputs.present) if dropped else features)

    def owned(self) -> Iterator[tuple[str, nn.Parameter, Owner]]:
        """Every parameter once: its qualified name, itself, its owner."""
        for name, parameter in self.named_parameters():
            room, _, rest = name.partition(".")
            if room == "encoders":
                yield name, parameter, Owner(rest.split(".")[0], "encoder")
            elif room == "own_heads":
                yield name, parameter, Owner(rest.split(".")[0], "own_head")
            elif room == "fusion":
                modality = self.fusion.owner(rest)
                yield name, parameter, Owner(modality, "fusion_slice" if modality else "fusion_shared")
            else:
                yield name, parameter, Owner(None, "method")

    def parameters_of(self, modality: str | None, *roles: Role) -> list[nn.Parameter]:
        """The parameters of one modality (None: nobody's alone) in the given roles, in a stable order.

        UserError for a modality or a role that there is not.
        """
        if modality is not None and modality not in self.encoders:
            raise unknown("modality of the model", modality, self.encoders)
        for role in roles:
            if role not in ROLES:
                raise unknown("role of parameters", role, ROLES)
        return [p for _, p, owner in self.owned() if owner.modality == modality and owner.role in roles]
