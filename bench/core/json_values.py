"""What JSON can hold, as a type; and what it cannot hold, made null."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]


def finite(value: float | None) -> float | None:
    """The number, or None where it is nan or infinite, which JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None


def to_json(value: object) -> Json:
    """A value as JSON holds it: dataclasses and mappings as objects, sequences and sets as lists.

    A number that is not finite becomes null; what JSON has no form for becomes its text.
    """
    if isinstance(value, float):
        return finite(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, Sequence | Set):
        return [to_json(inner) for inner in value]
    return str(value)
