"""Classes and functions as the names that the command line has for them: registered ones, files, `PACKAGE:CLASS`."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from mcr_bench.bench.api.source_of import MAIN, file_with, written
from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.home import default_home
from mcr_bench.bench.core.user_files import file_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.base import Dataset
from mcr_bench.methods.base import Method

Own = type | Callable[..., object]
FACTORY = '''
class {cls}(torch.nn.Module):
    """The network that `{name}` makes."""

    def __init__(self, {parameters}):
        super().__init__()
        self.net = {name}({arguments})

    def forward(self, x):
        return self.net(x)
'''


def method_name(given: object) -> str:
    """The name of a method: its registered name, or where its class is defined; UserError for anything else."""
    remedy = "Give names, paths of files, or classes that derive from Method."
    return _name(given, Method, registry.method_names, registry.method, f"methods: {given!r} is not allowed. {remedy}")


def dataset_name(given: object) -> str:
    """As `method_name`, of a dataset."""
    remedy = (
        "Give a name, a file, or a class that derives from Dataset; arrays in memory become a file by "
        "numpy.savez_compressed (docs/data.md)."
    )
    return _name(
        given, Dataset, registry.dataset_names, registry.dataset, f"dataset: {given!r} is not allowed. {remedy}"
    )


def any_name(given: object) -> str:
    """The name of a method, dataset, encoder or fusion head: its registered name, or where it is defined.

    A function is one that makes a network. UserError for anything else.
    """
    if isinstance(given, type) and issubclass(given, Method):
        return method_name(given)
    if isinstance(given, str | Path) or (isinstance(given, type) and issubclass(given, Dataset)):
        return dataset_name(given)
    if (net := _net(given)) is not None:
        return net
    raise UserError(
        f"{given!r} is not allowed. Give a name, a file, a class that derives from Method, Dataset or torch.nn.Module, "
        "or a function that makes a network; not a finished object."
    )


def _name(given: object, base: type, names: Callable[[], list[str]], find: Callable[[str], type], refusal: str) -> str:
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, type) and issubclass(given, base):
        name = str(getattr(given, "name", ""))
        return name if name in names() and find(name) is given else _place(given)
    raise UserError(refusal)


def setting_values(settings: Mapping[str, object]) -> dict[str, list[str]]:
    """Key -> the values of each setting as texts; several (a list or tuple) are a grid. UserError for no value."""
    values = {key: _several(value) for key, value in settings.items()}
    for key, several in values.items():
        if not several:
            raise UserError(f"settings: {key} has no value. Give one, or several for a grid.")
    return {key: [_text(key, value) for value in several] for key, several in values.items()}


def _several(value: object) -> Sequence[object]:
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    return value if isinstance(value, list | tuple) else [value]


def _text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Path):
        return str(value)
    if isinstance(value, np.number | np.bool_):
        return str(value).lower()
    if (net := _net(value)) is not None:
        return net
    raise UserError(
        f"settings: {key}={value!r} is not allowed. Give a text, a number, True or False; of an encoder or a fusion "
        "head its class, or a function that makes it, not a finished network."
    )


def _net(given: object) -> str | None:
    """Where the class of a network, or a function that makes one, is defined; None for anything else."""
    if isinstance(given, type) and issubclass(given, nn.Module):
        return _place(given)
    return _factory(given) if inspect.isfunction(given) else None


def _place(cls: type) -> str:
    if (file := file_of(cls)) is not None:
        return f"{file}:{cls.__name__}"
    if "<locals>" in cls.__qualname__ or "." in cls.__qualname__:
        raise UserError(
            f"{cls.__qualname__} is defined inside of something else. Define it at the top of its file or cell."
        )
    if cls.__module__ == MAIN:
        return f"{file_with(cls.__name__, _folder())}:{cls.__name__}"
    return _importable(cls)


def _importable(cls: type) -> str:
    """`PACKAGE:CLASS`, where the class is what a fresh process would find under that name."""
    if getattr(sys.modules.get(cls.__module__), cls.__name__, None) is not cls:
        raise UserError(f"{cls.__name__} cannot be imported from {cls.__module__}. Define it in a file.")
    return f"{cls.__module__}:{cls.__name__}"


def _factory(make: Callable[..., object]) -> str:
    """A class in a file whose network the function makes; its further parameters are the encoder's settings."""
    name, module = make.__name__, make.__module__
    if name == "<lambda>" or "<locals>" in make.__qualname__:
        raise UserError(
            f"{make.__qualname__} cannot be imported by other processes. Write a function at the top of a file."
        )
    parameters = inspect.signature(make).parameters.values()
    cls = f"{name}_net".title().replace("_", "")
    text = FACTORY.format(
        cls=cls,
        name=name,
        parameters=", ".join(str(one.replace(kind=one.POSITIONAL_OR_KEYWORD)) for one in parameters),
        arguments=", ".join(one.name for one in parameters),
    )
    if module == MAIN:
        return f"{file_with(name, _folder(), f'import torch{text}')}:{cls}"
    imports = f"import torch\nfrom {module} import {name}\n"
    return f"{written(imports + text, name, _folder())}:{cls}"


def _folder() -> Path:
    """Where files are written whose source is a notebook's or a script's."""
    return default_home().resolve() / "own"
