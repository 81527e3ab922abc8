"""Joint training: one fused loss, L = CE(z, y)."""

from dataclasses import dataclass
from typing import ClassVar

from mcr_bench.methods.base import Group, Method, Reference


@dataclass
class Joint(Method):
    """Minimise the fused loss L = CE(z, y) alone: the baseline in which modalities compete."""

    name: ClassVar[str] = "joint"
    title: ClassVar[str] = "Joint training"
    group: ClassVar[Group] = "baseline"
    selections: ClassVar[tuple[str, ...]] = ("table1", "primary")
    role = "reference"
    reference: ClassVar[Reference] = Reference("Joint training of all modalities with one fused loss", "baseline")
