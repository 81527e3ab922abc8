"""What torch must know of a user's module: the shape of each parameter, and every layer that is to be trained."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mcr_bench.bench.errors import UserError

OF_TORCH = vars(nn.Module()).keys()


def require_registered(module: nn.Module) -> None:
    """UserError for lazy parameters, for what is trained without being one, and for state other than tensors."""
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UserError(
                f"its parameter '{name}' is lazy: its shape is known only after a first batch. Use the layer that is "
                "not lazy; the constructor is given the sizes"
            )
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"its state has '{name}' of type {type(value).__name__} (get_extra_state), but weights are kept as "
                "tensors alone. Keep it in a buffer, or leave it out"
            )
    for name in _hidden(module):
        raise UserError(
            f"its attribute '{name}' holds layers or tensors that torch does not know of, so that no optimiser moves "
            "them and no checkpoint keeps them. Use nn.ModuleList, nn.ModuleDict or nn.Parameter instead of a list, a "
            "dict or a tensor"
        )


def require_made(module: nn.Module, before: set[str]) -> None:
    """UserError for what a pass has made of the state that is trained and kept.

    before: the state of the module as it was constructed.
    """
    for name in sorted(state_of(module) - before):
        raise UserError(
            f"its forward makes '{name}', which the optimiser, made before, does not move, and which a resumed run "
            "does not have. Make it in the constructor, which is given the sizes, or, if it follows from the input "
            "alone, a buffer with persistent=False"
        )


def state_of(module: nn.Module) -> set[str]:
    """The names of what checkpoints keep: parameters and persistent buffers."""
    return set(module.state_dict())


def _hidden(module: nn.Module) -> Iterator[str]:
    """The attributes that hold what wants gradients, but is not a parameter of the module."""
    known = {id(p) for p in module.parameters()}
    for place, inner in module.named_modules():
        if type(inner).__module__.startswith("torch."):
            continue  # recurrent layers keep lists of their own, of weights that a parametrisation has replaced, too
        for name, value in vars(inner).items():
            trained = (p for leaf in tree_leaves(value) for p in _trained(leaf)) if name not in OF_TORCH else ()
            if any(id(p) not in known for p in trained):
                yield f"{place}.{name}" if place else name


def _trained(leaf: object) -> Iterator[Tensor]:
    held = leaf.parameters() if isinstance(leaf, nn.Module) else [leaf] if isinstance(leaf, Tensor) else []
    yield from (x for x in held if x.requires_grad and x.is_leaf)
