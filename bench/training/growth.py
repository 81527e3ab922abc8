"""Modules that are added to a model while it is trained: drawn, owned, optimised, and grown again by a resumed run."""

from collections.abc import Iterable, Mapping
from functools import partial

from torch import nn
from torch.optim import Optimizer

from mcr_bench.bench.core import seeds
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import checked_growth
from mcr_bench.bench.models.build import refused_name
from mcr_bench.bench.training.optim import add_group
from mcr_bench.methods.base import Method


def let_grow(fit: Fit, method: Method) -> None:
    """From now on `fit.grow` works; the optimiser must have been made."""
    fit.grower = partial(_grow, fit, method)


def grow_again(fit: Fit, names: Iterable[str]) -> None:
    """Grow what a run had grown before it was interrupted, in the same order; a checkpoint then gives the rest."""
    for name in names:
        fit.grow(name)


def keep_grown(fit: Fit, names: Iterable[str]) -> None:
    """Remove what has grown from the model, except what is named: the best epoch may lie before a growth."""
    kept = list(names)
    for name in [name for name in fit.grown if name not in kept]:
        del fit.model.extras[name]
        fit.grown.remove(name)


def _grow(fit: Fit, method: Method, name: str, options: Mapping[str, object]) -> nn.Module:
    _check_name(fit, method, name)
    module = checked_growth(method, method.grow(name))
    _check_new(fit.model, method, name, module)
    seeds.initialise(module, fit.seed, f"extras.{name}")
    like = next(fit.model.parameters())
    module.to(device=fit.device, dtype=like.dtype).train(fit.model.training)
    fit.model.extras[name] = module
    fit.grown.append(name)
    learned = [p for p in module.parameters() if p.requires_grad]
    if learned:
        _optimise(fit.optimizer, {**options, "params": learned}, fit.settings.optimizer.name, method)
    return module


def _check_name(fit: Fit, method: Method, name: str) -> None:
    if name in fit.model.extras:
        raise UserError(
            f"{method.name}: grow('{name}'): the model has an extra of that name. Give each one another name, such as "
            f"'{name}2'."
        )
    if reason := refused_name(name):
        raise UserError(
            f"{method.name}: grow('{name}'): not allowed as the name of a module ({reason}). Take letters, "
            "digits and _."
        )


def _check_new(model: nn.Module, method: Method, name: str, module: nn.Module) -> None:
    """Drawing weights would overwrite those of a part that the model has already."""
    known = {id(p) for p in (*model.parameters(), *model.buffers())}
    old = next((k for k, p in [*module.named_parameters(), *module.named_buffers()] if id(p) in known), None)
    if old is not None:
        raise UserError(
            f"{method.name}: grow('{name}') returned a module whose '{old}' is a part of the model already. Return new "
            "parts only; forward and predict can join them with the old ones."
        )


def _optimise(optimizer: Optimizer, group: dict[str, object], kind: str, method: Method) -> None:
    try:
        add_group(optimizer, group, kind)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{method.name}: options of grow(): {error}. Give those of the optimiser, such as lr."
        ) from error
