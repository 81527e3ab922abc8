"""What a method's hooks give back, checked where they are called, so that a slip is told as what it is."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from mcr_bench.bench.core.user_files import is_of_a_file
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.multimodal import Outputs

T = TypeVar("T")
SHORTEST = 'return {"fused": loss}'


def checked_losses(method: object, losses: Any) -> dict[str, Tensor]:
    """`losses` as `loss` should return them: named scalars, one of which at least depends on the model."""
    if not isinstance(losses, dict):
        raise _wrong(method, "loss", losses, f"a dict of named terms: {SHORTEST}")
    if not losses:
        raise UserError(f"{_place(method, 'loss')} returned an empty dict. Return one term at least: {SHORTEST}.")
    for name, term in losses.items():
        _check_term(method, name, term)
    if not any(term.requires_grad for term in losses.values()):
        raise UserError(
            f"{_place(method, 'loss')}: no term of {', '.join(losses)} depends on the model, so nothing would be "
            "learned. Leave out detach(), torch.no_grad() and operations without a gradient, such as argmax."
        )
    return losses


def _check_term(method: object, name: Any, term: Any) -> None:
    where = f"{_place(method, 'loss')}: the term {name!r}"
    if not isinstance(name, str):
        raise UserError(f"{where} has no name. Keys are text: {SHORTEST}.")
    if not isinstance(term, Tensor):
        raise UserError(
            f"{where} is {_what(term)}, not a tensor: it has no gradient. Leave out .item(), float() and numpy."
        )
    if term.numel() != 1:
        raise UserError(f"{where} has shape {tuple(term.shape)}, not one number. Average it: .mean().")


def checked_outputs(method: object, hook: str, outputs: Any, count: int, width: int) -> Outputs:
    """`outputs` as `forward` and `predict` should return them: Outputs with logits (count, width)."""
    if not isinstance(outputs, Outputs):
        raise _wrong(
            method,
            hook,
            outputs,
            f"Outputs. To change its logits: dataclasses.replace(super().{hook}(...), logits=logits)",
        )
    found = tuple(outputs.logits.shape) if isinstance(outputs.logits, Tensor) else _what(outputs.logits)
    if found != (count, width):
        raise UserError(f"{_place(method, hook)}: logits are {found}, needed: a tensor of shape {(count, width)}.")
    return outputs


def checked_groups(method: object, groups: Any) -> list[dict[str, Any]]:
    """`groups` as `parameter_groups` should return them."""
    wanted = 'a list of dicts: [{"params": [p for p in model.parameters() if p.requires_grad]}]'
    if not isinstance(groups, list):
        raise _wrong(method, "parameter_groups", groups, wanted)
    for group in groups:
        if not isinstance(group, dict) or "params" not in group:
            raise _wrong(method, "parameter_groups", group, wanted, "holds")
    if not any(list(group["params"]) for group in _listed(groups)):
        raise UserError(f"{_place(method, 'parameter_groups')}: no parameter at all. Return {wanted}.")
    return groups


def _listed(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Generators of parameters are listed in place: looking at them would use them up."""
    for group in groups:
        params = group["params"]
        group["params"] = [params] if isinstance(params, Tensor) else list(params)
    return groups


def call_in_place(method: object, hook: str, *arguments: object) -> None:
    """A hook that changes things in place: what it returns would be thrown away, so it must be nothing."""
    found = getattr(method, hook)(*arguments)
    if found is not None:
        raise _wrong(method, hook, found, "nothing: change the model in place (model.fusion = ...)")


def checked_state(method: object, state: Any) -> dict[str, Any]:
    """`state` as `state_dict` should return it."""
    if not isinstance(state, dict):
        raise _wrong(method, "state_dict", state, "a dict of tensors and plain values")
    return state


def checked_reason(method: object, reason: Any) -> str | None:
    """`reason` as `skip` should return it: any text is a reason, and None says that the method can run."""
    if reason is not None and not (isinstance(reason, str) and reason):
        raise _wrong(method, "skip", reason, "the reason as text, or None where the method can run")
    return reason


def checked_list(method: object, hook: str, found: Any, kind: type[T], example: str) -> list[T]:
    """`found` as a hook should return it that gives a list of `kind`."""
    if not isinstance(found, list):
        raise _wrong(method, hook, found, f"a list: {example}")
    for item in found:
        if not isinstance(item, kind):
            raise _wrong(method, hook, item, f"a list: {example}", "holds")
    return found


@contextmanager
def asking(method: object, hook: str) -> Iterator[None]:
    """A hook of a user's file that is called while planning: what it raises is told as its error, with its line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_of_a_file(_class(method)):
            raise
        raise UserError(f"{_place(method, hook)} failed{_line(error)}: {type(error).__name__}: {error}") from error


def _line(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" at line {trace.tb_lineno} of {trace.tb_frame.f_code.co_filename}"


def _class(method: object) -> type:
    return method if isinstance(method, type) else type(method)


def _place(method: object, hook: str) -> str:
    """`half-loss: loss() (line 12 of my_method.py)`, the line where it is known."""
    cls = _class(method)
    return f"{getattr(cls, 'name', cls.__name__)}: {hook}(){_defined(getattr(cls, hook, None))}"


def _defined(hook: Callable[..., Any] | None) -> str:
    code = getattr(inspect.unwrap(hook), "__code__", None) if callable(hook) else None
    return f" (line {code.co_firstlineno} of {code.co_filename})" if code is not None else ""


def _wrong(method: object, hook: str, found: Any, wanted: str, verb: str = "returned") -> UserError:
    return UserError(f"{_place(method, hook)} {verb} {_what(found)}. Return {wanted}.")


def _what(found: Any) -> str:
    if found is None:
        return "None (is a `return` missing?)"
    if isinstance(found, Tensor):
        return f"a tensor {tuple(found.shape)}"
    if isinstance(found, torch.nn.Module):
        return f"a module ({type(found).__name__})"
    article = "an" if type(found).__name__[0] in "aeiou" else "a"
    return f"{article} {type(found).__name__}"
