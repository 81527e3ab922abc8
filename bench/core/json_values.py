"""What JSON can hold, as a type; and what it cannot hold, made null."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]


def finite(value: float | None) -> float | None:
    """The number, or None where it is nan or infinite, which JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None
