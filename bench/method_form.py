"""The form of a method that comes in a file: what a first method easily forgets fails here, before anything is trained.

It would otherwise fail late, or silently do nothing.
"""

import dataclasses
import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

NEAR = 0.8  # how alike a function's name and a hook's are for it to be a slip of the pen


def check_form(found: "type[Method]", path: Path, taken: Collection[str]) -> None:
    """UserError for a missing or taken name, settings without @dataclass, misspelt hooks and wrong parameters."""
    where = f"method file '{path}': "
    if not isinstance(getattr(found, "name", None), str):
        raise UserError(f"{where}class {found.__name__} has no `name`; give it one.")
    if found.name in taken:
        raise UserError(f"{where}the name '{found.name}' is taken; give the class another `name`.")
    if any(isinstance(value, dataclasses.Field) for value in vars(found).values()):
        raise UserError(f"{where}class {found.__name__} declares settings; put @dataclass above it.")
    _check_hooks(found, where)


def _check_hooks(found: "type[Method]", where: str) -> None:
    from mcr_bench.methods.base import Method

    hooks = {name: hook for name, hook in vars(Method).items() if inspect.isfunction(hook) and name[0] != "_"}
    own = {name: value for name, value in vars(found).items() if inspect.isfunction(value) and name[0] != "_"}
    for name, function in own.items():
        near = get_close_matches(name, hooks, 1, NEAR)
        if name in hooks:
            _check_parameters(name, function, hooks[name], where)
        elif near and near[0] not in own:
            raise UserError(
                f"{where}'{name}' is not a hook, so nothing calls it. Did you mean {near[0]}? (A helper of that name "
                "begins with an underscore.)"
            )


def _check_parameters(name: str, own: Callable[..., Any], hook: Callable[..., Any], where: str) -> None:
    """Hooks are called by position."""
    wanted = list(inspect.signature(hook).parameters)
    try:
        inspect.signature(own).bind(*wanted)
    except TypeError:
        signature = ", ".join(wanted)
        raise UserError(
            f"{where}{name}{inspect.signature(own)} cannot be called as a hook is. Write def {name}({signature})."
        ) from None
