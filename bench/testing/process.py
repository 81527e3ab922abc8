"""What belongs to the whole process: its state at one time, what has changed since, and how that is undone."""

import gc
import os
import pickle
import random
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.modules import module as modules

# Packages whose modules and classes are watched.
from mcr_bench.bench.core.device import backend_switches

ROOTS = (
    *("mcr_bench.bench", "mcr_bench.methods", "mcr_bench.datasets"),
    *("torch.nn", "torch.optim", "torch.autograd"),
)
MODULES = (torch, np.random, random, time, os, gc)  # modules that are watched beside them
CLASSES = (torch.Tensor, torch.Generator)
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
OF_TORCH = ("torch's default dtype", "torch's default device", "torch's gradient mode")
ABSENT, UNSET = object(), "unset"
Owner = ModuleType | type


def random_states() -> dict[str, bytes]:
    """The states of the global generators, by the library that each belongs to: torch, NumPy, Python."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": pickle.dumps(np.random.get_state()),
        "Python": pickle.dumps(random.getstate()),
    }


class Place(NamedTuple):
    """An attribute of a module or a class.

    owner: the module or the class.
    name: the name of the attribute.
    """

    owner: Owner
    name: str

    @property
    def text(self) -> str:
        """Its full name."""
        owner = self.owner
        place = (owner.__name__,) if isinstance(owner, ModuleType) else (owner.__module__, owner.__qualname__)
        return ".".join((*place, self.name))


class ProcessState:
    """The state of this process when it was made: switches, environment, and the attributes of modules and classes.

    Random states are not part of it.
    """

    def __init__(self) -> None:
        self._attributes = [(owner, dict(vars(owner))) for owner in dict.fromkeys(_owners())]
        self._switches = _switches()

    def changes(self) -> list[str]:
        """What has changed since, in words."""
        now = _switches()
        before = self._switches
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        told = [f"{name} is now {now.get(name, UNSET)}, not {before.get(name, UNSET)}" for name in names]
        return told + [f"{place.text} is not what it was" for place, _ in self._replaced()]

    def changes_by(self, file: str) -> list[str]:
        """What code of a file has changed since: torch's switches, and what was replaced by a function of the file.

        Libraries that it imports may have changed the rest.
        """
        now = _switches()
        told = [
            f"{n} is now {now[n]}, not {old}" for n, old in self._switches.items() if n in OF_TORCH and now[n] != old
        ]
        return told + [
            f"{place.text} is not what it was"
            for place, _ in self._replaced()
            if _file_of(vars(place.owner).get(place.name)) == file
        ]

    def undo(self) -> None:
        """Put back the attributes of modules and classes."""
        for place, value in list(self._replaced()):
            if value is ABSENT:
                delattr(place.owner, place.name)
            else:
                setattr(place.owner, place.name, value)

    def _replaced(self) -> Iterator[tuple[Place, object]]:
        """The attributes that are not what they were, with what they were."""
        for owner, before in self._attributes:
            now = dict(vars(owner))
            for name in before.keys() | now.keys():
                old, new = before.get(name, ABSENT), now.get(name, ABSENT)
                if old is not new and (_counts(owner, name, old) or _counts(owner, name, new)) and not _wrapped(new):
                    yield Place(owner, name), old


def _owners() -> Iterator[Owner]:
    """Every module and class that is watched."""
    yield from CLASSES
    for module in (*MODULES, *(module for name, module in list(sys.modules.items()) if _is_watched(name))):
        yield module
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


def _is_watched(name: str) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in ROOTS)


def _counts(owner: Owner, name: str, value: object) -> bool:
    """Whether an attribute is watched: functions and classes of modules, and what is public of classes."""
    return _is_code(value) or (isinstance(owner, type) and not name.startswith("_") and value is not ABSENT)


def _file_of(value: object) -> str:
    return str(getattr(getattr(value, "__code__", None), "co_filename", ""))


def _wrapped(value: object) -> bool:
    """Whether it is the step of an optimiser's class, which torch wraps when the class is first used."""
    return bool(getattr(value, "hooked", False))


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


def _switches() -> dict[str, str]:
    """The switches of Python, NumPy and torch, the environment and what else is shared, as text."""
    values: dict[str, object] = {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's inference mode": torch.is_inference_mode_enabled(),
        "torch's autocast": torch.is_autocast_enabled("cpu"),
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's matmul precision": torch.get_float32_matmul_precision(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the switches of cuDNN and oneDNN": [value for _, value in backend_switches()],
        "torch's hooks of all modules": [list(vars(modules)[name]) for name in GLOBAL_HOOKS],
        "torch's print options": torch._tensor_str.PRINT_OPTS,
        "NumPy's handling of errors": np.geterr(),
        "the filters of warnings": warnings.filters,
        "the working folder": os.getcwd(),
        "sys.path": sys.path,
        "the recursion limit": sys.getrecursionlimit(),
        "garbage collection": gc.isenabled(),
        "the handling of signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        **{f"the environment variable {name}": value for name, value in os.environ.items()},
    }
    return {name: repr(value) for name, value in values.items()}
