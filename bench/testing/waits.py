"""Where a training step would make the host wait for a GPU: found on any machine, with tensors that hold no data.

A step that reads a number from the device, or copies to or from it at once, stops the queue of work that keeps a GPU
busy. PyTorch's device `meta` computes shapes and nothing else, so that whatever needs a number is seen there.

>>> from mcr_bench.methods.joint import Joint
>>> from mcr_bench.bench.testing.fits import make_fit
>>> method = Joint()
>>> fit = make_fit(method)
>>> waits(method)
[]
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.testing.fits import begin, step
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.methods.base import Method

META = torch.device("meta")
READING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
# PyTorch reads from the device whether these have succeeded.
CHECKED = {"_linalg_svd", "_linalg_eigh", "linalg_eig", "_linalg_eigvals", "linalg_lstsq", "_linalg_check_errors"}
COPYING = {"_to_copy", "copy_"}
MAKING = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}  # of numbers of the host


class Waits(TorchDispatchMode):
    """Inside the block, what would make the host wait for the device is noted in `seen`, by name.

    Reading a number is answered with 1, so that the code goes on; what needs more than a number raises an error, after
    it was noted. Copies with `non_blocking` do not wait. An operation on tensors of host and device at once, which a
    GPU refuses, is noted as well; numbers () of the host may be used.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        self._made = _Made(self.seen)

    def __enter__(self) -> Self:
        self._made.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._made.__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        name, tensors = func.overloadpacket.__name__, _tensors(args, kwargs)
        on_device = any(t.is_meta for t in tensors)
        masks = [t for t in tensors[1:] if t.dtype == torch.bool] if name == "index" else []
        if on_device and (name in READING | CHECKED or masks):
            self.seen.append("index by a mask" if masks else name)
            if name == "_local_scalar_dense":
                return torch.ones((), dtype=tensors[0].dtype).item()
        if name not in COPYING and len({t.is_meta for t in tensors if t.ndim}) > 1:
            self.seen.append(f"{name} of tensors of host and device")
        if name in COPYING and _waiting(args, kwargs or {}):
            self.seen.append(f"{name} between host and device")
        return func(*args, **(kwargs or {}))


class _Made(TorchFunctionMode):
    """Inside the block, tensors are noted that are made on the device from numbers of the host, which takes a copy."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in MAKING and made.is_meta and not _tensors(args[func is Tensor.new_tensor :], kwargs):
            self._seen.append(f"{func.__name__} of numbers of the host")
        return made


def waits(method: Method) -> list[str]:
    """What makes the host wait in the second and third training step of a method, by name; nothing is best.

    Call it after `make_fit(method)`, whose fit cannot be trained afterwards. The first step may make what the others
    use.
    """
    fit = method.fit
    begin(method)
    _on_meta(fit, method)
    batch = fit.train.batch(torch.arange(len(fit.train), device=META))
    with Waits() as noted:
        try:
            step(method, batch)
            noted.seen.clear()
            step(method, batch)
            step(method, batch)
        except Exception:
            if not noted.seen:  # the step has failed for another reason
                raise
    seen: list[str] = noted.seen
    return seen


def _on_meta(fit: Fit, method: Method) -> None:
    """Move a fit and the tensors and modules that its method keeps to the device `meta`."""
    fit.model, fit.train, fit.val = fit.model.to(META), fit.train.to(META), fit.val.to(META)
    fit.dependencies = [{k: v.to(META) for k, v in weights.items()} for weights in fit.dependencies]
    fit.device = META
    vars(fit)["generator"] = _generators(fit.generator)
    vars(fit)["autocast"] = nullcontext
    for name, value in list(vars(method).items()):
        if name != "fit":
            setattr(method, name, _moved(value))
    fit.optimizer = make_optimizer(method.parameter_groups(fit.model), fit.settings.optimizer)


def _moved(value: Any) -> Any:
    """What a method keeps, with the tensors in it on the device `meta`."""
    if isinstance(value, Tensor):
        return value.detach().to(META).requires_grad_(value.requires_grad)
    if isinstance(value, torch.nn.Module):
        return value.to(META)
    if type(value) in (list, tuple):
        return type(value)(map(_moved, value))
    if type(value) is dict:
        return {key: _moved(one) for key, one in value.items()}
    return value


class _MetaGenerator(torch.Generator):
    """A generator of the host that says it is on the device, for which there is none."""

    device = META


def _generators(own: Callable[..., torch.Generator]) -> Callable[..., torch.Generator]:
    def generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
        return _MetaGenerator() if torch.device(device).type == "meta" else own(*names)

    return generator


def _waiting(args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a copy goes from the host to the device or back, and is waited for."""
    source, *others = _tensors(args, {})
    source, goal = (others[0], source.device) if others else (source, kwargs.get("device") or source.device)
    started = kwargs.get("non_blocking") or (bool(others) and len(args) > 2 and args[2])
    return source.is_meta != (torch.device(goal).type == "meta") and not started


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
