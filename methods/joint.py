"""Joint training: one fused loss, L = CE(z, y)."""

from dataclasses import dataclass

from mcr_bench.methods.base import Method, Reference


@dataclass
class Joint(Method):
    """Minimise the fused loss L = CE(z, y) alone: the baseline in which modalities compete."""

    name = "joint"
    title = "Joint training"
    group = "baseline"
    selections = ("table1", "primary")
    role = "reference"
    reference = Reference("Joint training of all modalities with one fused loss", "baseline")
