"""The order in which modalities take turns: drawn from the run's seed, or that in which they are given."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.terms.variants import WithVariants


@dataclass
class InTurns(WithVariants):
    """A method whose modalities take turns. A draw goes with the modality's name, not with its place.

    turns: the modalities in the order of their turns, from `on_fit_start` on.
    """

    order: Literal["drawn", "given"] = setting(
        "drawn",
        "whose turn it is first; drawn: the order is drawn from the run's seed; given: that of the run's modalities",
    )
    turns: list[str] = field(default_factory=list, init=False, repr=False)

    def on_fit_start(self) -> None:
        self.turns = list(self.fit.model.modalities)
        if self.order == "drawn":
            self.turns.sort(key=self._draw)

    def _draw(self, modality: str) -> int:
        return int(torch.randint(2**62, (), generator=self.fit.generator("order", modality)))
