"""An encoder on one shape of samples, and the shapes on which an encoder is checked."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.build import ALONE, build_model, made
from mcr_bench.bench.models.declared import Encoder, EncoderKind, Head, Values
from mcr_bench.bench.models.kinds import fusion_kind_of
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.models.parts import has_part, stages_of, tokens_of
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.problem.samples import Inputs
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.nets.cases import OUTPUTS, WIDTH, Cases, NetCase

NAME = "first"  # of the modality
SHAPES = {  # shapes of samples by their number of axes: the first that an encoder takes is the one it is checked on
    1: ((12,), (16_000,)),
    2: ((16, 3), (1_600, 1), (100, 40), (16_000, 1)),
    3: ((3, 32, 32), (1, 28, 28), (1, 64, 64), (3, 224, 224)),
    4: ((3, 3, 32, 32), (3, 1, 64, 64), (8, 3, 112, 112), (16, 3, 224, 224)),
}
IDS, VOCABULARY = (16, 1), 20  # of an encoder of ids of words
PADDED = (2, 4)  # numbers of axes of samples that may be padded


@dataclass(frozen=True, eq=False)
class EncoderCase(NetCase):
    """An encoder on samples of one shape.

    encoder: the encoder with its settings.
    """

    encoder: Encoder

    @property
    def modality(self) -> Modality:
        """What its samples look like."""
        return self.modalities[NAME]

    @property
    def size(self) -> int:
        """The width of the features."""
        return WIDTH

    @property
    def waits(self) -> str:
        return self.encoder.kind.waits

    @property
    def waits_if_anywhere(self) -> bool:
        return self.modality.padded or not self.encoder.kind.padded

    def model(self, *beside: str) -> MultimodalModel:
        """A new model, whose weights are not yet drawn; beside: modalities with such an encoder before the first."""
        names = (*beside, NAME)
        head = Head(fusion_kind_of(ALONE), WIDTH, {})
        shapes, encoders = dict.fromkeys(names, self.modality), dict.fromkeys(names, self.encoder)
        return build_model(shapes, Task(OUTPUTS), head, encoders)

    def part(self, model: MultimodalModel) -> nn.Module:
        return model.encoders[NAME]

    def outputs(self, model: MultimodalModel, inputs: Inputs) -> Tensor:
        return model.encode_one(NAME, inputs.values[NAME], inputs.lengths.get(NAME))

    def further(self, model: MultimodalModel, inputs: Inputs) -> list[Tensor]:
        """The tokens and the stages that the encoder gives."""
        encoder, values, lengths = self.part(model), inputs.values[NAME], inputs.lengths.get(NAME)
        tokens = [tokens_of(encoder, values, lengths)[0]] if has_part(encoder, "tokens") else []
        return [*tokens, *(stages_of(encoder, values, lengths) if has_part(encoder, "stages") else [])]

    def refusal(self) -> str:
        return refusal(self.encoder, self.modality)


def refusal(encoder: Encoder, modality: Modality) -> str:
    """Why an encoder cannot be used for such samples, as found before any training; '' if it can."""
    try:
        if encoder.kind.digest:
            encoder.kind.check(modality, WIDTH, encoder.values)
        else:
            made(encoder, modality, WIDTH)
    except UserError as error:
        return str(error)
    return ""


def encoder_cases(kind: EncoderKind, values: Values) -> Cases[EncoderCase]:
    """The encoder on a shape of each number of axes that it declares to take, padded too where it takes those.

    Of an encoder of ids of words there is one shape. Where it declares `examples`, these are the shapes. Of an encoder
    that takes any number of axes, only the shapes count that it takes when they are tried, at least one.
    """
    encoder = Encoder(kind, values)
    if kind.ids:
        return Cases(tuple(_on_shape(encoder, IDS, VOCABULARY)))
    if kind.examples:
        return Cases(tuple(case for shape in kind.examples for case in _on_shape(encoder, shape)))
    known = sorted(set(kind.axes) & SHAPES.keys()) or kind.axes
    cases = [case for axes in known for case in _on_axes(encoder, axes)]
    if len(kind.axes) > len(SHAPES):
        cases = [case for case in cases if not case.refused] or cases[:1]
    return Cases(tuple(cases))


def _on_axes(encoder: Encoder, axes: int) -> Iterator[EncoderCase]:
    usual = SHAPES.get(axes, ((2,) * axes,))
    shapes = [shape for shape in usual if encoder.kind.takes(Modality(shape))] or usual
    yield from _on_shape(encoder, next((s for s in shapes if not refusal(encoder, Modality(s))), shapes[0]))


def _on_shape(encoder: Encoder, shape: tuple[int, ...], vocabulary: int = 0) -> Iterator[EncoderCase]:
    yield _case(encoder, Modality(shape, vocabulary=vocabulary))
    if len(shape) in encoder.kind.padded and len(shape) in PADDED:
        yield _case(encoder, Modality(shape, padded=True, vocabulary=vocabulary))


def _case(encoder: Encoder, modality: Modality) -> EncoderCase:
    padded = "padded " if modality.padded else ""
    return EncoderCase(f"on {padded}samples {modality.shape}", {NAME: modality}, encoder)
