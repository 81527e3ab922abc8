"""Typed settings: one declaration gives the command line, the record's params, the cards and the error messages.

A settings class is a dataclass whose fields are made with `setting(...)`. Their types may be bool, int, float, str or
a Literal of strings. A field that is itself a settings class gives dotted keys (`optimizer.lr`).

>>> @dataclasses.dataclass
... class Smoothing:
...     share: float = setting(0.1, "share of the target spread over all classes", at_least=0, at_most=1)
>>> resolve(Smoothing, {"share": "0.5"}, where="smooth.")
{'share': 0.5}
>>> resolve(Smoothing, {"share": 2}, where="smooth.")
Traceback (most recent call last):
mcr_bench.bench.errors.UserError: smooth.share=2: not allowed. Allowed: number >= 0 and <= 1 (default 0.1).
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from mcr_bench.bench.errors import UserError, unknown

T = TypeVar("T")
Value = bool | int | float | str


@dataclasses.dataclass(frozen=True)
class Space:
    """The range in which tuning draws a number.

    low: the lower bound.
    high: the upper bound.
    log: whether the logarithm of the number is drawn uniformly, instead of the number itself.
    """

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Declared:
    """One setting as it was declared.

    key: its dotted key, such as `optimizer.lr`.
    kind: its type: bool, int, float, str or a Literal of strings.
    default: its value where none is given.
    doc: what it does, for cards and help.
    origin: where the default comes from, such as "MCR code".
    at_least: the smallest value that is allowed.
    at_most: the largest value that is allowed.
    space: the range in which tuning draws it; None where it is not tuned.
    rounding: whether it changes results by rounding only; it is then recorded, but not part of a run's key.
    acts_with: the dotted key of another setting, and its values with which this one acts; None where it always does.
    """

    key: str
    kind: object
    default: Value
    doc: str
    origin: str
    at_least: float
    at_most: float
    space: Space | None
    rounding: bool = False
    acts_with: tuple[str, tuple[Value, ...]] | None = None

    @property
    def allowed(self) -> str:
        """The allowed values in words, for cards and errors: `number >= 0 and <= 1`, or `adam | sgd`."""
        if get_origin(self.kind) is Literal:
            return " | ".join(map(str, get_args(self.kind)))
        if self.kind is bool:
            return "true | false"
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if not math.isinf(bound))
        name = "whole number" if self.kind is int else "number" if self.kind is float else "text"
        return f"{name} {limits}" if limits else name

    def parse(self, value: object, where: str) -> Value:
        """`value`, typed or text of a command line, as a value of this setting's type.

        `where` stands before the key in the UserError for a value that is not allowed.
        """
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
    rounding: bool = False,
    acts_with: tuple[str, tuple[Value, ...]] | None = None,
) -> Any:
    """The dataclass field of one setting.

    default: its value where none is given. doc: what it does, for cards and help. origin: where the default comes from.
    at_least, at_most: the smallest and the largest value allowed. space: the range in which tuning draws it, if any.
    rounding: whether it changes results by rounding only, and so is not part of a run's key. acts_with: another
    setting of the class, and its values with which this one acts.
    """
    facts = {"doc": doc, "origin": origin, "at_least": at_least, "at_most": at_most, "space": space}
    facts |= {"rounding": rounding, "acts_with": acts_with}
    return dataclasses.field(default=default, metadata=facts)


def declared(cls: type) -> dict[str, Declared]:
    """Every setting of a settings class, by dotted key; fields that are not made with `setting` are left out.

    >>> @dataclasses.dataclass
    ... class Clipping:
    ...     norm: float = setting(0.0, "largest norm of the gradient; 0 = no clipping", at_least=0)
    >>> declared(Clipping)["norm"].allowed
    'number >= 0'
    """
    return dict(_declared(cls))


@cache  # reading hints takes as long as making a small model, and every model, run and method asks for the same ones
def _declared(cls: type) -> dict[str, Declared]:
    hints, settings = _hints(cls), {}
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if not field.init:  # a value of the class's own
            continue
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            for key, inner in declared(kind).items():
                other = inner.acts_with and (f"{field.name}.{inner.acts_with[0]}", inner.acts_with[1])
                settings[f"{field.name}.{key}"] = dataclasses.replace(inner, key=f"{field.name}.{key}", acts_with=other)
        elif "doc" in field.metadata:
            settings[field.name] = Declared(field.name, kind, cast(Value, field.default), **field.metadata)
    return settings


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def resolve(cls: type, values: Mapping[str, object], where: str = "") -> dict[str, Value]:
    """Every setting of `cls` by dotted key: its value in `values`, or its default.

    UserError for a key that `cls` does not declare, and for a value that is not allowed; `where` stands before the key
    in its text.
    """
    known = declared(cls)
    for key in values:
        if key not in known:
            raise unknown("setting", where + key, (where + k for k in known))
    return {k: d.parse(values.get(k, d.default), where) for k, d in known.items()}


def build(cls: type[T], values: Mapping[str, object], **others: object) -> T:
    """An instance of the settings class `cls` from values by dotted key; other settings have their defaults.

    others: values of fields that are not settings.
    """
    flat, hints = resolve(cls, values), _hints(cls)  # type: ignore[arg-type]  # classes are hashable
    arguments = dict(others)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        kind, prefix = hints[field.name], f"{field.name}."
        if not field.init:
            continue
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            arguments[field.name] = build(
                kind, {k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)}
            )
        elif field.name in flat:
            arguments[field.name] = flat[field.name]
    return cls(**arguments)


def _convert(value: object, kind: object) -> Value | None:
    """`value` as a value of type `kind`; None where it is not one.

    A float without a fraction is a whole number; 1 is not a bool.
    """
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
