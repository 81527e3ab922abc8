"""A fusion head over so many modalities, whose encoders give whatever a head may read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.declared import Encoder, FusionKind, Head, Values
from mcr_bench.bench.models.fusion import Fused
from mcr_bench.bench.models.kinds import encoder_kinds
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.own.head_checks import NotAdditive
from mcr_bench.bench.models.parts import Asked, Encoded, Tokens
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.card import Failed
from mcr_bench.bench.testing.nets.cases import OUTPUTS, WIDTH, Cases, NetCase

NAMES = ("audio", "video", "text", "depth")
SHAPES = {  # two of them padded, so that their tokens are masked
    "audio": Modality((8, 3)),
    "video": Modality((7, 4), padded=True),
    "text": Modality((6, 2), padded=True),
    "depth": Modality((5, 3)),
}
SIZES = {"width": 8, "depth": 2}  # of the encoders
Parts = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class HeadCase(NetCase):
    """A fusion head over some modalities.

    head: the head with its settings.
    encoder: the encoder of every modality, which gives tokens and stages.
    """

    head: Head
    encoder: Encoder

    @property
    def names(self) -> list[str]:
        """The modalities."""
        return list(self.modalities)

    @property
    def size(self) -> int:
        """The number of outputs."""
        return OUTPUTS

    @property
    def trains_all(self) -> bool:
        """Gates, as an example, have nothing to choose from where there is a single modality."""
        return len(self.modalities) > 1

    def model(self) -> MultimodalModel:
        return self.model_of(self.names)

    def model_of(self, names: list[str], outputs: int = OUTPUTS) -> MultimodalModel:
        """A new model over the modalities in this order, whose weights are not yet drawn."""
        shapes = {m: self.modalities[m] for m in names}
        return build_model(shapes, Task(outputs), self.head, dict.fromkeys(names, self.encoder))

    def part(self, model: MultimodalModel) -> nn.Module:
        return model.fusion

    def outputs(self, model: MultimodalModel, inputs: Inputs) -> Tensor:
        logits: Tensor = model(inputs).logits
        return logits

    @property
    def waits(self) -> str:
        return self.head.kind.waits

    def without(self, model: MultimodalModel, inputs: Inputs, modality: str) -> Tensor:
        """The logits where a method drops a modality of every sample."""
        all_of_them = torch.ones(len(inputs), dtype=torch.bool)
        logits: Tensor = model(inputs, {modality: all_of_them}).logits
        return logits

    def single_pass(self, model: MultimodalModel) -> Callable[[], object]:
        features = self.features(model, 1)
        return lambda: fused(model, features)

    def refusal(self) -> str:
        try:
            self.require()
        except NotAdditive:  # this is a property of its own
            return ""
        except UserError as error:
            return str(error)
        return ""

    def require(self) -> None:
        """UserError where the head cannot be used, as found before any training."""
        if not self.head.kind.digest:
            self.model()
            return
        encoders = dict.fromkeys(self.names, self.encoder)
        self.head.kind.check(encoders, self.modalities, WIDTH, OUTPUTS, self.head.values)

    def features(self, model: MultimodalModel, count: int, place: int = 0) -> dict[str, Tensor]:
        """What the encoders give for so many samples, without gradients: features (B, d), and what the head reads."""
        model.eval()
        with torch.no_grad():
            given = model.encode(self.inputs(count, place))
            return held(given) if isinstance(given, Encoded) else dict(given)


def held(given: Encoded) -> Encoded:
    """What encoders gave, made once: features, tokens and stages that can be changed."""
    tokens = {m: given.tokens[m] for m in given if m in given.tokens}
    stages = {m: given.stages[m] for m in given if m in given.stages}
    return encoded(given, tokens, stages)


def encoded(features: Parts, tokens: Mapping[str, Tokens], stages: Mapping[str, list[Tensor]]) -> Encoded:
    """Features (B, d) with tokens and stages as they are given here."""
    made_tokens = {m: lambda m=m: tokens[m] for m in tokens}
    made_stages = {m: lambda m=m: stages[m] for m in stages}
    return Encoded(features, Asked(made_tokens, _lacking), Asked(made_stages, _lacking))


def _lacking(modality: str) -> UserError:
    return UserError(f"the head reads parts of '{modality}' that its encoder does not have")


def mapped(features: dict[str, Tensor], change: Callable[[Tensor], Tensor], only: str = "") -> dict[str, Tensor]:
    """Features with what belongs to them, each tensor changed; only: those of this modality alone."""

    def of(m: str, x: Tensor) -> Tensor:
        return change(x) if only in ("", m) else x

    values = {m: of(m, x) for m, x in features.items()}
    if not isinstance(features, Encoded):
        return values
    tokens = {m: (of(m, features.tokens[m][0]), features.tokens[m][1]) for m in features}
    return encoded(values, tokens, {m: [of(m, x) for x in features.stages[m]] for m in features})


def changed(features: dict[str, Tensor], modality: str, by: float = 1.0) -> dict[str, Tensor]:
    """The same features, but those of a modality are others, in length and in direction; by: how far they are moved."""
    return mapped(
        features, lambda x: x + by * (0.7 * x + torch.sin(torch.arange(x.numel()).reshape(x.shape))), modality
    )


def fused(model: MultimodalModel, features: dict[str, Tensor]) -> Fused:
    """What the head gives for features (B, d)."""
    given: Fused = model.fusion(features)
    if given.branch_logits is not None and set(given.branch_logits) != set(features):
        raise Failed(f"its branches are of {', '.join(given.branch_logits)}; needed: {', '.join(features)}")
    return given


def head_cases(kind: FusionKind, values: Values) -> Cases[HeadCase]:
    """The head over each number of modalities that it joins, up to four."""
    stand = encoder_kinds()["conv1d"]
    counts = range(max(1, kind.at_least), min(len(NAMES), kind.at_most) + 1)
    of = [
        HeadCase(
            f"over {count} {'modality' if count == 1 else 'modalities'}",
            {m: SHAPES[m] for m in NAMES[:count]},
            Head(kind, WIDTH, values),
            Encoder(stand, SIZES),
        )
        for count in counts
    ]
    return Cases(tuple(of))
