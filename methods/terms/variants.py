"""The setting that methods have whose official code departs from its paper."""

from dataclasses import dataclass
from typing import Literal

from mcr_bench.bench.settings.declaration import setting
from mcr_bench.methods.base import Method


@dataclass
class WithVariants(Method):
    """A method with two variants: the rule of its paper, and that rule with the defects of the official code."""

    variant: Literal["paper", "official"] = setting(
        "paper", "paper: the rule that the paper states; official: what the official code does instead (see defects)"
    )

    @property
    def official(self) -> bool:
        """Whether the defects of the official code are wanted.

        >>> WithVariants(variant="official").official
        True
        """
        return self.variant == "official"
