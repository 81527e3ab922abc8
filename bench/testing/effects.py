"""What code changes in the process that it runs in: draws from global generators, switches, replaced functions.

>>> import random
>>> changes(lambda: random.random())
['the random state of Python']
>>> changes(lambda: torch.Generator().manual_seed(0))
[]
"""

import inspect
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mcr_bench.bench.models.own.trial import trial

State = Mapping[str, object]
GENERATORS = ("the random state of Python", "the random state of NumPy", "the random state of torch")


def draws(call: Callable[[], object]) -> list[str]:
    """The global generators that a call has drawn from or seeded, in words. Afterwards they are as they were."""
    return [name for name in changes(call) if name in GENERATORS]


def changes(call: Callable[[], object]) -> list[str]:
    """What of the process a call has changed, in words. Afterwards all but replaced functions is as it was."""
    with trial():
        before = _state()
        call()
        after = _state()
    return [name for name, value in before.items() if name in after and after[name] != value]


def _state() -> dict[str, object]:
    return {**_random(), **_switches(), **dict(_functions())}


def _random() -> State:
    numpy_state = np.random.get_state()
    states = (
        hash(random.getstate()),
        (np.asarray(numpy_state[1]).tobytes(), numpy_state[2]),
        torch.get_rng_state().numpy().tobytes(),
    )
    return dict(zip(GENERATORS, states, strict=True))


def _switches() -> State:
    return {
        "the working folder": os.getcwd(),
        "an environment variable": dict(os.environ),
        "sys.path": list(sys.path),
        "the warning filters": list(warnings.filters),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "whether torch keeps gradients": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's precision of matrix products": torch.get_float32_matmul_precision(),
        "torch's switch for deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch's detection of anomalies": torch.is_anomaly_enabled(),
    }


def _functions() -> Iterator[tuple[str, object]]:
    """Functions and classes that everything uses, by name, as numbers that tell whether they were replaced."""
    layers = {f"torch.nn.{name}": cls for name, cls in vars(nn).items() if inspect.isclass(cls)}
    places = {"torch": torch, "torch.nn.functional": F, "torch.nn.init": nn.init, "torch.Tensor": torch.Tensor}
    for place, owner in {**places, "numpy": np, "random": random, "os": os, **layers}.items():
        for name, value in list(vars(owner).items()):
            if callable(value) and not name.startswith("__"):
                yield f"{place}.{name}", id(value)
