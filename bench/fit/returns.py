"""Check what the hooks of a method return, where they are called, so that an error names the hook and the remedy."""

import inspect
import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, SupportsFloat, TypeVar

import torch
from torch import Tensor, nn

from mcr_bench.bench.core.user_files import is_of_a_file
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.multimodal import Outputs
from mcr_bench.bench.problem.epoch_batches import EpochBatches

T = TypeVar("T")
Groups = list[dict[str, Any]]  # parameter groups as torch's optimisers take them
State = dict[str, Any]  # tensors and plain values that a checkpoint keeps
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)  # types of indices
KEPT = (  # types, beside tensors, that `torch.load(weights_only=True)` gives back
    *(bool, int, float, complex, str, bytes, type(None), dict, OrderedDict, Counter, list, tuple, set),
    *(torch.dtype, torch.device, torch.Size),
)
SHORTEST = 'return {"fused": loss}'


def checked_losses(method: object, losses: object) -> dict[str, Tensor]:
    """The terms that `loss` returned, each a tensor of one number. UserError for anything else.

    At least one of them must depend on the model.
    """
    if not isinstance(losses, dict):
        raise _wrong(method, "loss", losses, f"a dict of named terms: {SHORTEST}")
    if not losses:
        raise UserError(f"{_place(method, 'loss')} returned an empty dict. Return one term at least: {SHORTEST}.")
    for name, term in losses.items():
        _check_term(method, name, term)
    if not any(term.requires_grad for term in losses.values()):
        raise UserError(
            f"{_place(method, 'loss')}: none of the terms {', '.join(losses)} depends on the model, so nothing would "
            "be learned. Leave out detach(), torch.no_grad() and operations without a gradient, such as argmax."
        )
    return losses


def _check_term(method: object, name: object, term: object) -> None:
    if isinstance(name, str) and isinstance(term, Tensor) and term.numel() == 1:
        return
    where = f"{_place(method, 'loss')}: the term {name!r}"
    if not isinstance(name, str):
        raise UserError(f"{where} has a name that is not text. Give text as the key of every term: {SHORTEST}.")
    if not isinstance(term, Tensor):
        raise UserError(
            f"{where} is {_what(term)}, not a tensor, so it has no gradient. Leave out .item(), float() and numpy."
        )
    raise UserError(f"{where} has shape {tuple(term.shape)}; it must be one number. Average it: .mean().")


def checked_outputs(method: object, hook: str, outputs: object, count: int, width: int) -> Outputs:
    """The Outputs that `forward` or `predict` returned, with logits (count, width). UserError for anything else."""
    if not isinstance(outputs, Outputs):
        raise _wrong(
            method,
            hook,
            outputs,
            f"Outputs. To change its logits: dataclasses.replace(super().{hook}(...), logits=logits, "
            "branch_logits=None)",
        )
    if not isinstance(outputs.logits, Tensor) or tuple(outputs.logits.shape) != (count, width):
        raise UserError(
            f"{_place(method, hook)}: the logits are {_what(outputs.logits)}. Return a tensor of shape "
            f"{(count, width)}: one row per sample and one column per output."
        )
    return outputs


def checked_groups(method: object, groups: object) -> Groups:
    """The parameter groups that `parameter_groups` returned, each with a list of `params`. UserError otherwise."""
    wanted = 'a list of dicts: [{"params": [p for p in model.parameters() if p.requires_grad]}]'
    if not isinstance(groups, list):
        raise _wrong(method, "parameter_groups", groups, wanted)
    for group in groups:
        if not isinstance(group, dict) or "params" not in group:
            raise _wrong(method, "parameter_groups", group, wanted, "returned a list with")
        if not isinstance(group["params"], Iterable):
            raise _wrong(method, "parameter_groups", group["params"], wanted, "returned a group whose params are")
    _check_params(method, _listed(groups), wanted)
    if not any(group["params"] for group in groups):
        raise UserError(f"{_place(method, 'parameter_groups')} returned no parameter. Return {wanted}.")
    return groups


def _check_params(method: object, groups: Groups, wanted: str) -> None:
    where, seen = _place(method, "parameter_groups"), set[int]()
    for group in groups:
        for parameter in group["params"]:
            if not isinstance(parameter, Tensor):
                raise UserError(f"{where} returned {_what(parameter)} among the params. Return {wanted}.")
            if id(parameter) in seen:
                raise UserError(f"{where} returned a parameter of shape {tuple(parameter.shape)} twice. Give it once.")
            seen.add(id(parameter))
        rate = group.get("lr", 0.0)
        if not isinstance(rate, SupportsFloat) or not 0 <= float(rate) < math.inf:
            raise UserError(f"{where} returned a group with lr={rate!r}. Give a number >= 0, or leave it out.")


def checked_weight(method: object, weight: object) -> float:
    """The number that `own_weight` returned; UserError for anything else, also for one that is not finite."""
    known = weight.item() if isinstance(weight, Tensor) and weight.numel() == 1 else weight
    if isinstance(known, SupportsFloat) and not isinstance(known, Tensor) and math.isfinite(float(known)):
        return float(known)
    raise _wrong(method, "own_weight", weight, "one finite number: the weight of each own head's loss")


def _listed(groups: Groups) -> Groups:
    """The groups with every generator of parameters replaced by a list, as a generator can be read only once."""
    for group in groups:
        params = group["params"]
        group["params"] = [params] if isinstance(params, Tensor) else list(params)
    return groups


def call_in_place(method: object, hook: str, *arguments: object) -> None:
    """Call a hook that changes its arguments in place. UserError if it returns a value, which would be ignored."""
    returned = getattr(method, hook)(*arguments)
    if returned is not None:
        raise _wrong(method, hook, returned, "nothing: change the model in place (model.fusion = ...)")


def checked_batches(method: object, batches: object, count: int, modalities: Collection[str]) -> EpochBatches | None:
    """What `epoch_batches` returned, indices as int64 on the CPU; UserError for anything but EpochBatches or None.

    count: the number of training samples. modalities: those of the model.
    """
    if batches is None:
        return None
    if not isinstance(batches, EpochBatches):
        raise _wrong(method, "epoch_batches", batches, "EpochBatches(order=self.fit.order()), or None for that order")
    where = _place(method, "epoch_batches")
    _check_order(where, batches.order, count)
    if not isinstance(batches.dropped, Mapping):
        raise UserError(f"{where}: dropped is {_what(batches.dropped)}. Give a dict: modality -> (n,) bool.")
    for m, flags in batches.dropped.items():
        _check_flags(where, m, flags, batches.order, modalities)
    return EpochBatches(batches.order.long().cpu(), {m: flags.cpu() for m, flags in batches.dropped.items()})


def _check_order(where: str, order: object, count: int) -> None:
    if not isinstance(order, Tensor) or order.ndim != 1 or order.dtype not in WHOLE:
        kind = f" of {order.dtype}" if isinstance(order, Tensor) else ""
        raise UserError(f"{where}: the order is {_what(order)}{kind}. Give indices of samples: a tensor (n,) int64.")
    if not len(order):
        raise UserError(f"{where}: the order is empty, so nothing would be trained. Give one index at least.")
    low, high = (int(x) for x in order.aminmax())
    if low < 0 or high >= count:
        raise UserError(
            f"{where}: the order holds the index {low if low < 0 else high}, but there are {count} training samples. "
            f"Allowed: 0 to {count - 1}."
        )


def _check_flags(where: str, modality: object, flags: object, order: Tensor, modalities: Collection[str]) -> None:
    if modality not in modalities:
        raise UserError(f"{where}: dropped: {unknown('modality', str(modality), modalities)}")
    if not isinstance(flags, Tensor) or flags.dtype != torch.bool or flags.shape != order.shape:
        kind = f" of {flags.dtype}" if isinstance(flags, Tensor) else ""
        raise UserError(
            f"{where}: dropped['{modality}'] is {_what(flags)}{kind}. Give a tensor of torch.bool with one value for "
            f"each place of the order: {tuple(order.shape)}."
        )


def checked_growth(method: object, module: object) -> nn.Module:
    """The module that `grow` returned. UserError for anything else."""
    if not isinstance(module, nn.Module):
        raise _wrong(method, "grow", module, "a new module, such as nn.Linear(model.width, model.task.outputs)")
    return module


def checked_state(method: object, state: object) -> State:
    """The dict that `state_dict` returned. UserError for anything else, and for values that no checkpoint keeps."""
    if not isinstance(state, dict):
        raise _wrong(method, "state_dict", state, "a dict of tensors and plain values")
    for place, value in _unkept(state):
        raise UserError(
            f"{_place(method, 'state_dict')}: the value of {place} is {_what(value)}, which a checkpoint cannot give "
            "back. Return tensors, numbers, texts, None, and dicts, lists and tuples of these, such as "
            "torch.as_tensor(array), float(number), list(window) or module.state_dict()."
        )
    return state


def _unkept(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Place and value of what a checkpoint would not give back, as only tensors and plain values are read from it."""
    if isinstance(value, Mapping) and type(value) in KEPT:
        for key, one in value.items():
            yield from _unkept(key, f"{place}[{key!r}]")
            yield from _unkept(one, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple | set) and type(value) in KEPT:
        for number, one in enumerate(value):
            yield from _unkept(one, f"{place}[{number}]")
    elif not isinstance(value, Tensor) and type(value) not in KEPT:  # a number of NumPy is a float, too, by its base
        yield place, value


def checked_reason(method: object, reason: object) -> str | None:
    """The reason that `skip` returned, or None if the method can run. UserError for anything else."""
    if reason is not None and not (isinstance(reason, str) and reason):
        raise _wrong(method, "skip", reason, "the reason as text, or None where the method can run")
    return reason


def checked_list(method: object, hook: str, items: object, kind: type[T], example: str) -> list[T]:
    """The list of `kind` that `hook` returned. UserError, with an example, for anything else."""
    if not isinstance(items, list):
        raise _wrong(method, hook, items, f"a list: {example}")
    for item in items:
        if not isinstance(item, kind):
            raise _wrong(method, hook, item, f"a list: {example}", "returned a list with")
    return items


@contextmanager
def asking(method: object, hook: str) -> Iterator[None]:
    """Inside the block a hook is called while planning. An error in a user's file becomes a UserError with its line."""
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
    """The name of a hook for errors: `half-loss: loss() (line 12 of my_method.py)`, the line where it is known."""
    cls = _class(method)
    return f"{getattr(cls, 'name', cls.__name__)}: {hook}(){_defined(getattr(cls, hook, None))}"


def _defined(hook: object) -> str:
    code = getattr(inspect.unwrap(hook), "__code__", None) if callable(hook) else None
    return f" (line {code.co_firstlineno} of {code.co_filename})" if code is not None else ""


def _wrong(method: object, hook: str, value: object, wanted: str, verb: str = "returned") -> UserError:
    return UserError(f"{_place(method, hook)} {verb} {_what(value)}. Return {wanted}.")


def _what(value: object) -> str:
    """A value of the wrong kind in words, for errors."""
    if value is None:
        return "None (is a `return` missing?)"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, nn.Module):
        return f"a module ({type(value).__name__})"
    article = "an" if type(value).__name__.startswith((*"aeiou", "nd")) else "a"  # an ndarray
    return f"{article} {type(value).__name__}"
