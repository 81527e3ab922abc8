"""The form of a method that comes in a file: what a first method easily forgets fails here, before anything is trained.

It would otherwise fail late, or silently do nothing.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args, get_type_hints

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.settings.declaration import declared

if TYPE_CHECKING:
    from mcr_bench.methods.base import Method

NEAR = 0.8  # how alike a function's name and a hook's are for it to be a slip of the pen
EXAMPLES = {
    "needs": "Needs(own_heads=True)",
    "reference": 'Reference("title", "venue", "arXiv number")',
    "neutral": '(Neutral({"alpha": 0.0}, "METHOD"),), with the comma',
    "without_neutral": '"why no setting makes it a simpler method"',
    "predicts_otherwise": '"why predict gives other logits than forward"',
    "waits": '"why a step makes the host wait for a GPU"',
    "deviations": '("one sentence each",), with the comma',
    "delays": '(Delay("SETTING", "first"),), with the comma',
    "trains": "True or False",
    "scales_gradients": "True or False",
}


def check_form(cls: "type[Method]", place: str, taken: Collection[str]) -> None:
    """UserError for a name that is missing, taken or not allowed, wrong facts, settings or hooks."""
    where = f"method file '{place}': "
    check_name(cls, where, taken)
    _check_facts(cls, where)
    check_settings(cls, where)
    _check_hooks(cls, where)


def check_name(cls: type, where: str, taken: Collection[str]) -> None:
    """UserError for a class without a name, with a wrong one, or with settings that are not fields of a dataclass."""
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        raise UserError(f"{where}class {cls.__name__} has no `name`. Give it one.")
    require_name(name, where, taken, "give the class another `name`")
    if any(isinstance(value, dataclasses.Field) for value in vars(cls).values()):
        raise UserError(f"{where}class {cls.__name__} declares settings. Write @dataclass above it.")


def require_name(name: str, where: str, taken: Collection[str], remedy: str) -> None:
    """UserError for a name that is taken, or not allowed; `where` stands before the text, `remedy` at its end."""
    if name in taken:
        raise UserError(f"{where}the name '{name}' is taken; {remedy}.")
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise UserError(f"{where}the name '{name}' is not allowed: letters, digits, - and _, a letter first.")


def _check_facts(cls: "type[Method]", where: str) -> None:
    """Declared facts are read by plans and cards, long before a hook is called."""
    from mcr_bench.methods.base import START, Delay, Method, Needs, Neutral, Reference

    kinds = {"needs": Needs, "neutral": tuple, "deviations": tuple, "delays": tuple}
    kinds |= {"trains": bool, "scales_gradients": bool, "without_neutral": str, "predicts_otherwise": str, "waits": str}
    if hasattr(cls, "reference"):
        kinds["reference"] = Reference
    wrong = [fact for fact, kind in kinds.items() if not isinstance(getattr(cls, fact), kind)]
    if not wrong and not all(isinstance(item, Neutral) for item in cls.neutral):
        wrong = ["neutral"]
    if not wrong and not all(isinstance(item, Delay) for item in cls.delays):
        wrong = ["delays"]
    if not wrong and cls.delays is not START:
        _check_delays(cls, where)
    for fact in wrong:
        raise UserError(f"{where}{fact} = {getattr(cls, fact)!r}: not allowed. Write {EXAMPLES[fact]}.")
    roles = [role for hint in get_args(get_type_hints(Method)["role"]) for role in get_args(hint)]
    if cls.role not in roles:
        raise UserError(f"{where}role = {cls.role!r}: not allowed. Allowed: {', '.join(roles)}.")


def _check_delays(cls: "type[Method]", where: str) -> None:
    from mcr_bench.methods.base import Delay

    kinds = get_args(get_type_hints(Delay)["counts"])
    for one in cls.delays:
        for name in (one.setting, *(one.where or ())[:1]):
            if name and name not in declared(cls):
                raise UserError(f"{where}delays: {unknown('setting', name, declared(cls))} Name one that it declares.")
        if one.counts not in kinds:
            raise UserError(f"{where}delays: counts = {one.counts!r}: not allowed. Allowed: {', '.join(kinds)}.")


def check_settings(cls: type, where: str, **given: object) -> None:
    """It can be made with its settings and what is `given` alone, and their types are allowed ones."""
    try:
        inspect.signature(cls).bind(**given)
    except TypeError as error:
        raise UserError(
            f"{where}class {cls.__name__} cannot be made: {error}. Declare what it needs as settings with a default, "
            'below @dataclass: alpha: float = setting(0.5, "what it does").'
        ) from None
    try:
        _ = [setting.allowed for setting in declared(cls).values()]
    except (KeyError, NameError) as error:
        raise UserError(
            f"{where}a setting has a type that is not allowed ({error}). Allowed: bool, int, float, str, Literal."
        ) from None


def _check_hooks(cls: "type[Method]", where: str) -> None:
    from mcr_bench.methods.base import Method

    hooks = {name for name, hook in vars(Method).items() if _is_function(hook) and name[0] != "_"}
    own = {name for name, value in vars(cls).items() if _is_function(value) and name[0] != "_"}
    for name in sorted(own):
        near = get_close_matches(name, hooks, 1, NEAR)
        if name in hooks:
            _check_parameters(name, getattr(cls, name), getattr(Method, name), where)
        elif near and near[0] not in own:
            raise UserError(
                f"{where}'{name}' is not a hook, so nothing calls it. Did you mean {near[0]}? (A helper of that name "
                "begins with an underscore.)"
            )


def _is_function(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, classmethod)


def _check_parameters(name: str, own: Callable[..., object], hook: Callable[..., object], where: str) -> None:
    """Hooks are called by position."""
    wanted = list(inspect.signature(hook).parameters)
    try:
        inspect.signature(own).bind(*wanted)
    except TypeError:
        signature = inspect.signature(own)
        raise UserError(
            f"{where}{name}{signature} cannot be called as a hook is. Write def {name}({', '.join(wanted)})."
        ) from None
