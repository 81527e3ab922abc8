"""The settings of a class that somebody else wrote: the keyword arguments of its constructor, with their types."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.settings.declaration import Declared

PLAIN = (bool, int, float, str)
ALLOWED = "bool, int, float, str, or a Literal of strings"
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def constructor_settings(cls: type[nn.Module], first: Sequence[str], reserved: Sequence[str]) -> dict[str, Declared]:
    """Every setting of the constructor by name; UserError where it does not take what the harness gives it.

    first: what it takes by position, in this order, as `("shape", "width")`. reserved: names that no setting may have.
    A constructor that takes `**settings` has those of the class it derives from too.
    """
    settings: dict[str, Declared] = {}
    for parameter, hint in _parameters(cls, first):
        if parameter.name in settings:
            continue
        if parameter.name in reserved:
            raise UserError(f"its setting '{parameter.name}' has a name of the harness; call it something else")
        settings[parameter.name] = _declared(parameter, hint)
    return settings


def positional(function: Callable[..., object]) -> list[str]:
    """The names of what a method takes by position, without `self`."""
    return [p.name for p in list(inspect.signature(function).parameters.values())[1:] if p.kind in POSITIONAL]


def takes(function: Callable[..., object], name: str) -> bool:
    """Whether a function has a parameter of this name."""
    return name in inspect.signature(function).parameters


def required(cls: type[nn.Module]) -> int:
    """How many arguments the constructor takes by position that have no default."""
    names = [p for p in _own_parameters(cls) if p.kind in POSITIONAL and p.default is inspect.Parameter.empty]
    return len(names)


def _parameters(cls: type[nn.Module], first: Sequence[str]) -> Iterator[tuple[inspect.Parameter, object]]:
    """(parameter, type) of the settings of the class's constructor and of those that it hands on to."""
    makers = [base for base in cls.__mro__ if "__init__" in vars(base) and base is not nn.Module]
    for base in makers[: _at(makers, nn.Module)]:
        parameters = _own_parameters(base)
        _check_first(parameters, first)
        hints = _hints(base)
        settings = [p for p in parameters[len(first) :] if p.kind not in GATHERING]
        yield from ((p, hints.get(p.name, _EMPTY)) for p in settings)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return


_EMPTY = inspect.Parameter.empty


def _at(classes: Sequence[type], base: type) -> int:
    """How many of the classes come before those that `base` derives from."""
    return sum(issubclass(cls, base) for cls in classes)


def _own_parameters(cls: type) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]


def _hints(cls: type) -> dict[str, object]:
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]
    except NameError as error:
        raise UserError(f"the annotations of its constructor cannot be read: {error}") from error


def _check_first(parameters: Sequence[inspect.Parameter], first: Sequence[str]) -> None:
    """UserError unless the constructor can be called with `first` by position and settings by keyword alone."""
    wanted = f"write def __init__(self, {', '.join(first)}, ...)"
    by_position = [p for p in parameters if p.kind in POSITIONAL]
    gathers = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if len(by_position) < len(first) and not gathers:
        signature = ", ".join(["self", *map(str, parameters)])
        raise UserError(f"its constructor __init__({signature}) does not take ({', '.join(first)}); {wanted}")
    for parameter in parameters[len(first) :]:
        if parameter.default is _EMPTY and parameter.kind not in GATHERING:
            raise UserError(
                f"its constructor needs '{parameter.name}', which has no default: the harness gives it "
                f"({', '.join(first)}) and settings. Give it a default: {parameter.name}: int = 2"
            )


def _declared(parameter: inspect.Parameter, hint: object) -> Declared:
    """One setting; its default may be a `setting(...)`, which brings a text and bounds."""
    given = parameter.default
    default, more = given, _PLAIN_DECLARATION
    if isinstance(given, dataclasses.Field):
        default, more = given.default, {**_PLAIN_DECLARATION, **given.metadata}
    kind = _kind(parameter.name, hint, default)
    made = Declared(parameter.name, kind, default, **more)
    made.parse(default, "")
    return made


_PLAIN_DECLARATION: dict[str, Any] = {
    "doc": "",
    "origin": "its constructor",
    "at_least": -math.inf,
    "at_most": math.inf,
    "space": None,
}


def _kind(name: str, hint: object, default: object) -> Any:
    """The annotation, or without one the type of the default."""
    kind = type(default) if hint is _EMPTY else hint
    texts = get_origin(kind) is Literal and all(isinstance(value, str) for value in get_args(kind))
    if kind not in PLAIN and not texts:
        told = getattr(kind, "__name__", str(kind))
        raise UserError(f"its setting '{name}' is of the type {told}, which is not allowed; allowed: {ALLOWED}")
    return kind
