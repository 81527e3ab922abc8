"""Typed settings: one declaration gives the command line, the record's params, the cards and the error messages.

A settings class is a dataclass whose fields are made with `setting(...)`. Allowed types: bool, int, float, str and
Literal of strings. Nested settings classes give dotted keys (`optimizer.lr`).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mcr_bench.bench.errors import UserError, unknown

T = TypeVar("T")
Value = bool | int | float | str


@dataclasses.dataclass(frozen=True)
class Space:
    """Where tuning looks for a number: uniform between the bounds, or uniform in its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Declared:
    """One setting as declared: `key` is dotted, `origin` says who chose the default; `space` None: it is not tuned."""

    key: str
    kind: Any
    default: Any
    doc: str
    origin: str
    at_least: float
    at_most: float
    space: Space | None

    @property
    def allowed(self) -> str:
        """The allowed values in words, for cards and errors."""
        if get_origin(self.kind) is Literal:
            return " | ".join(map(str, get_args(self.kind)))
        if self.kind is bool:
            return "true | false"
        lower, upper = not math.isinf(self.at_least), not math.isinf(self.at_most)
        name = {int: "whole number", float: "number", str: "text"}[self.kind]
        bounds = f" >= {self.at_least:g}" * lower + " and" * (lower and upper) + f" <= {self.at_most:g}" * upper
        return name + bounds

    def parse(self, value: object, where: str) -> Value:
        """`value` (typed, or text from a command line) as this setting's type; UserError where it does not fit."""
        parsed = _convert(value, self.kind)
        if parsed is None or (
            isinstance(parsed, int | float)
            and not isinstance(parsed, bool)
            and not self.at_least <= parsed <= self.at_most
        ):
            raise UserError(
                f"{where}{self.key}={value}: not allowed. Allowed: {self.allowed} (default {self.default})."
            )
        return parsed


def setting(
    default: Value,
    doc: str,
    *,
    origin: str = "chosen here",
    at_least: float = -math.inf,
    at_most: float = math.inf,
    space: Space | None = None,
) -> Any:
    """A dataclass field with its documentation, the origin of its default, its bounds (inclusive) and tuning space."""
    meta = {"doc": doc, "origin": origin, "at_least": at_least, "at_most": at_most, "space": space}
    return dataclasses.field(default=default, metadata=meta)


def declared(cls: type) -> dict[str, Declared]:
    """Every setting of a settings class by dotted key."""
    hints, found = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            for key, inner in declared(kind).items():
                found[f"{field.name}.{key}"] = dataclasses.replace(inner, key=f"{field.name}.{key}")
        elif "doc" in field.metadata:
            found[field.name] = Declared(field.name, kind, field.default, **field.metadata)
    return found


def resolve(cls: type, values: Mapping[str, object], where: str = "") -> dict[str, Value]:
    """Every setting of `cls` with `values` (dotted keys) laid over the defaults; UserError for an unknown key."""
    known = declared(cls)
    for key in values:
        if key not in known:
            raise unknown("setting", where + key, (where + k for k in known))
    return {k: d.parse(values.get(k, d.default), where) for k, d in known.items()}


def build(cls: type[T], values: Mapping[str, object], **others: Any) -> T:
    """An instance of the settings class from dotted keys; `others` are fields that are no settings."""
    flat, hints = resolve(cls, values), get_type_hints(cls)
    arguments: dict[str, Any] = dict(others)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        kind, prefix = hints[field.name], f"{field.name}."
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            arguments[field.name] = build(
                kind, {k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)}
            )
        elif field.name in flat:
            arguments[field.name] = flat[field.name]
    return cls(**arguments)


def _convert(value: object, kind: Any) -> Value | None:
    """`value` as `kind`, or None where it cannot be: a float with no fraction is a whole number, 1 is not a bool."""
    if get_origin(kind) is Literal:
        text = str(value).lower() if isinstance(value, bool) else str(value)  # as TOML and command lines write it
        return text if text in get_args(kind) else None
    if kind is bool:
        return {"true": True, "false": False}.get(str(value).lower())
    if kind is str:
        return str(value)
    try:
        number = float(str(value))
    except ValueError:
        return None
    if isinstance(value, bool) or not math.isfinite(number):
        return None
    return number if kind is float else (int(number) if number.is_integer() else None)
