"""Tokens and stages of encoders, made only where a fusion head reads them."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from torch import Tensor, nn

from mcr_bench.bench.errors import UserError

T = TypeVar("T")
Tokens = tuple[Tensor, Tensor]


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
        """Whether any was made or asked for."""
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
        return self[modality] if modality in self else default

    def __iter__(self) -> Iterator[str]:
        for modality in self._make:
            if modality not in self:
                raise self._lacking(modality)
            yield modality

    def __len__(self) -> int:
        return len(self._make)


class Encoded(dict[str, Tensor]):
    """Features (B, d) by modality as the encoders have just given them, with their tokens and stages."""

    def __init__(self, features: Mapping[str, Tensor], tokens: Asked[Tokens], stages: Asked[list[Tensor]]) -> None:
        super().__init__(features)
        self.tokens, self.stages = tokens, stages


def parts_of(encoder: nn.Module, part: str) -> Callable[[Tensor, Tensor | None], object] | None:
    """What gives an encoder's tokens or stages from values (B, ...) and lengths (B,); None where it has none."""
    has = getattr(encoder, "has", None)
    method = getattr(encoder, part, None)
    if method is None or (has is not None and not has(part)):
        return None
    if "lengths" in inspect.signature(method).parameters:
        return lambda values, lengths: method(values, lengths)
    return lambda values, _: method(values)
