"""What a name, a Python file of the user's or a class of a package is: a method, dataset, encoder or fusion head."""

import inspect
import os
import shlex
from types import ModuleType
from typing import Literal

from torch import nn

from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.user_classes import Place, class_in, module_in, own_classes, packaged
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.bench.models.own.kinds import HEAD
from mcr_bench.bench.models.own.signature import required
from mcr_bench.datasets.base import Dataset
from mcr_bench.methods.base import Method

Kind = Literal["method", "dataset", "encoder", "fusion"]


def registered() -> dict[Kind, list[str]]:
    """The registered names of every kind; imports none of them."""
    return {
        "method": registry.method_names(),
        "dataset": registry.dataset_names(),
        "encoder": nets.encoder_names(),
        "fusion": nets.fusion_names(),
    }


def kind_of_target(text: str) -> tuple[Kind, str]:
    """What a registered name, `FILE.py`, `FILE.py:CLASS` or `PACKAGE:CLASS` is, and its name with its class.

    UserError for another text.
    """
    if registry.is_file(text):
        return kind_of_file(text)
    if (cls := packaged(text)) is not None:
        kind = _kind(cls)
        if kind is None:
            raise UserError(f"{text} is not a method, dataset, encoder or fusion head.")
        return kind, text
    for kind, names in registered().items():
        if text in names:
            return kind, text
    if os.path.exists(text):
        raise UserError(
            f"'{text}' holds no code: methods, datasets, encoders and fusion heads are named by their name, FILE.py or "
            f"PACKAGE:CLASS. Data are checked by `mcr-bench data verify {shlex.quote(text)}`."
        )
    every = [name for names in registered().values() for name in names]
    raise unknown("method, dataset, encoder or fusion head", text, every)


def kind_of_file(name: str) -> tuple[Kind, str]:
    """What `FILE.py` or `FILE.py:CLASS` defines, and `FILE.py:CLASS`; UserError where it is none or several.

    A method or a dataset comes before the modules that it is made of.
    """
    place = Place.of(name)
    module = module_in(place.path, "Python", "./my_method.py")
    cls = class_in(name, object, "Python", "./my_method.py") if place.cls else _only(name, module)
    kind = _kind(cls)
    if kind is None:
        raise UserError(f"{cls.__name__} in '{place.path}' is not a method, dataset, encoder or fusion head.")
    file = name if place.cls is None else name.rpartition(":")[0]
    return kind, f"{file}:{cls.__name__}"


def _only(name: str, module: ModuleType) -> type:
    every = own_classes(module, object)
    declared: list[type] = [cls for cls in every if issubclass(cls, Method | Dataset)]
    classes = [cls for cls in declared if not inspect.isabstract(cls)] or declared
    classes = classes or [cls for cls in every if issubclass(cls, nn.Module)]
    if not classes:
        raise UserError(f"'{name}' defines no method, dataset, encoder or fusion head.")
    if len(classes) > 1:
        told = ", ".join(f"{cls.__name__} ({_kind(cls)})" for cls in classes)
        raise UserError(f"'{name}' defines several things: {told}. Name one: {name}:{classes[0].__name__}.")
    return classes[0]


def _kind(cls: type) -> Kind | None:
    if issubclass(cls, Method):
        return "method"
    if issubclass(cls, Dataset):
        return "dataset"
    if issubclass(cls, nn.Module):
        return "fusion" if required(cls) == len(HEAD) else "encoder"
    return None
