"""Tokens and stages of encoders, made only where a fusion head reads them."""

import inspect
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.memory import EncoderMemory, recalled
from mcr_bench.bench.models.over_time import mean_over_time

T = TypeVar("T")
Tokens = tuple[Tensor, Tensor]
PARTS = ("tokens", "stages")


class Stages(list[Tensor]):
    """The outputs (B, ...) of an encoder's stages.

    own: for each stage the number (B,) of steps that are each sample's own; None where all are.
    """

    def __init__(self, outputs: Iterable[Tensor], own: Iterable[Tensor | None]) -> None:
        super().__init__(outputs)
        self.own = tuple(own)


def own_steps(stages: list[Tensor]) -> tuple[Tensor | None, ...]:
    """For each stage the number (B,) of own steps of each sample; None where all are, or where it is not known."""
    return stages.own if isinstance(stages, Stages) else (None,) * len(stages)


def pooled_stages(stages: list[Tensor]) -> list[Tensor]:
    """Every stage as one vector (B, K): its mean over space, and over each sequence's own steps, where they are known.

    Stages may be (B, K), (B, T, K), (B, K, h, w) or (B, T, K, h, w); UserError for others.
    """
    return [_pooled(stage, own) for stage, own in zip(stages, own_steps(stages), strict=True)]


def _pooled(stage: Tensor, own: Tensor | None) -> Tensor:
    if stage.ndim not in (2, 3, 4, 5):
        raise UserError(
            f"an encoder gives a stage of shape {tuple(stage.shape)}, which cannot be pooled. Stages may be (B, K), "
            "(B, T, K), (B, K, h, w) or (B, T, K, h, w)."
        )
    places = stage.mean((-2, -1)) if stage.ndim > 3 else stage
    return mean_over_time(places, own) if places.ndim == 3 else places


class Asked(Mapping[str, T]):
    """Modality -> what its encoder gives beyond the features, made when it is first asked for.

    `m in parts` and `parts.get(m)` say whether the encoder of m has such parts; taking them from an encoder that has
    none is an error, and so is going through all modalities where one has none.
    """

    def __init__(self, make: Mapping[str, Callable[[], T] | None], lacking: Callable[[str], UserError]) -> None:
        self._make, self._lacking = dict(make), lacking
        self._made: dict[str, T] = {}

    @property
    def asked(self) -> bool:
        """Whether any was made."""
        return bool(self._made)

    def __getitem__(self, modality: str) -> T:
        make = self._make[modality]
        if make is None:
            raise self._lacking(modality)
        if modality not in self._made:
            self._made[modality] = make()
        return self._made[modality]

    def __contains__(self, modality: object) -> bool:
        return self._make.get(str(modality)) is not None

    def get(self, modality: str, default: T | None = None) -> T | None:  # type: ignore[override]
        """The parts of a modality, `default` where its encoder has none."""
        if self._make.get(modality) is None:
            return default
        return self[modality]

    def __iter__(self) -> Iterator[str]:
        for modality in self._make:
            if modality not in self:
                raise self._lacking(modality)
            yield modality

    def __len__(self) -> int:
        return len(self._make)

    def changed(self, change: Callable[[str, T], T], modalities: Container[str]) -> "Asked[T]":
        """The same parts; those of some modalities are changed when they are asked for."""
        return Asked({m: self._then(change, m, modalities) for m in self._make}, self._lacking)

    def _then(self, change: Callable[[str, T], T], modality: str, changed: Container[str]) -> Callable[[], T] | None:
        if modality not in self:
            return None
        if modality not in changed:
            return partial(self.__getitem__, modality)
        return lambda: change(modality, self[modality])


class Encoded(dict[str, Tensor]):
    """Features (B, d) by modality as the encoders have just given them, with their tokens and stages.

    tokens: modality -> features (B, T, d) of parts of a sample, and a mask (B, T), True on those that are real.
    stages: modality -> the outputs (B, ...) of the stages.
    """

    def __init__(self, features: Mapping[str, Tensor], tokens: Asked[Tokens], stages: Asked[list[Tensor]]) -> None:
        super().__init__(features)
        self.tokens, self.stages = tokens, stages


def as_encoded(features: Mapping[str, Tensor], part: str) -> Encoded:
    """Features (B, d) of every modality as encoders gave them; UserError for others, which have no such parts.

    part: "tokens" or "stages", for the error.
    """
    if not isinstance(features, Encoded):
        raise not_encoded(part, next(iter(features)))
    return features


def not_encoded(part: str, modality: str) -> UserError:
    """An error for a head that reads tokens or stages of features which no encoder has given."""
    return UserError(
        f"the fusion head reads the {part} of '{modality}', but the method gives it features of its own making, which "
        "have none. Use a head that reads features alone, or another method."
    )


def has_part(encoder: nn.Module, part: str) -> bool:
    """Whether an encoder gives "tokens", or "stages"."""
    says = getattr(encoder, "has", None)
    return bool(says(part)) if says is not None else callable(getattr(encoder, part, None))


def tokens_of(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> Tokens:
    """Features (B, T, d) of parts of the samples `values` (B, ...), and a mask (B, T), True on those that are real."""
    features, mask = encoder.tokens(values, lengths)  # type: ignore[operator]
    return features, mask


def stages_of(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> Stages:
    """The outputs (B, ...) of an encoder's stages on `values` (B, ...), with the own steps of padded samples in each.

    These are as the encoder's `stage_lengths` says, or else the same share of the stage's steps.
    """
    return _with_steps(encoder, _outputs(encoder, values, lengths), values.shape[1], lengths)


def _outputs(encoder: nn.Module, values: Tensor, lengths: Tensor | None) -> list[Tensor]:
    told = "lengths" in inspect.signature(encoder.stages).parameters  # type: ignore[arg-type]
    return list(encoder.stages(values, lengths) if told else encoder.stages(values))  # type: ignore[operator]


def _with_steps(encoder: nn.Module, outputs: list[Tensor], steps: int, lengths: Tensor | None) -> Stages:
    if lengths is None:
        return Stages(outputs, [None] * len(outputs))
    if has_part(encoder, "stage_lengths"):
        return Stages(outputs, encoder.stage_lengths(lengths))  # type: ignore[operator]
    return Stages(outputs, [(lengths * stage.shape[1] + steps - 1) // steps for stage in outputs])


class Source:
    """What gives tokens and stages of a batch's values (B, ...) later, as the encoder stands now.

    Whether it is in training, part by part, and whether gradients are kept, are those of now.
    watched: told of every encoder pass with what it gives.
    memory: what encoders gave for inputs that come again, if that is kept.
    """

    def __init__(
        self,
        encoder: nn.Module,
        values: Tensor,
        lengths: Tensor | None,
        watched: Callable[[Tensor], None],
        memory: EncoderMemory | None = None,
    ) -> None:
        self._encoder, self._values, self._lengths, self._watched = encoder, values, lengths, watched
        self._memory = memory
        self._modes = [(module, module.training) for module in encoder.modules()]
        self._gradients = torch.is_grad_enabled()

    def tokens(self) -> Tokens:
        """Features (B, T, d) and their mask (B, T)."""
        return recalled(self._memory, "tokens", self._encoder, self._values, self._lengths, self._tokens)

    def stages(self) -> list[Tensor]:
        """The outputs (B, ...) of the stages."""
        given = recalled(self._memory, "stages", self._encoder, self._values, self._lengths, self._stages)
        return _with_steps(self._encoder, given, self._values.shape[1], self._lengths)

    def _tokens(self) -> Tokens:
        with self._then():
            given = tokens_of(self._encoder, self._values, self._lengths)
        self._watched(given[0])
        return given

    def _stages(self) -> list[Tensor]:
        with self._then():
            given = _outputs(self._encoder, self._values, self._lengths)
        self._watched(given[-1])
        return given

    @contextmanager
    def _then(self) -> Iterator[None]:
        now = [(module, module.training) for module, _ in self._modes]
        _set_modes(self._modes)
        try:
            with torch.set_grad_enabled(self._gradients):
                yield
        finally:
            _set_modes(now)


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def encoded(
    features: Mapping[str, Tensor],
    encoders: Mapping[str, nn.Module],
    values: Mapping[str, Tensor],
    lengths: Mapping[str, Tensor],
    watched: Callable[[Tensor], None],
    memory: EncoderMemory | None = None,
) -> Encoded:
    """`features` (B, d) with tokens and stages of the same `values` (B, ...); `watched`, `memory` as of `Source`."""
    sources = {m: Source(encoder, values[m], lengths.get(m), watched, memory) for m, encoder in encoders.items()}
    tokens = {m: source.tokens if has_part(encoders[m], "tokens") else None for m, source in sources.items()}
    stages = {m: source.stages if has_part(encoders[m], "stages") else None for m, source in sources.items()}
    return Encoded(features, Asked(tokens, _lacking("tokens")), Asked(stages, _lacking("stages")))


def _lacking(part: str) -> Callable[[str], UserError]:
    return lambda m: UserError(f"the fusion head reads the {part} of '{m}', whose encoder has none.")
