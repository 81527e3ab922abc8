"""What code of a user may change in a process by being imported, and how it is put back.

The command imports users' methods to plan with them, and its workers inherit folder, environment and path from it:
what one file changes there must not reach the runs of another method.
"""

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Inside, anything may happen to folder, environment, path, random states and torch's switches; afterwards they
    are as they were. Functions and classes that were replaced stay so.
    """
    folder, environment, path = os.getcwd(), dict(os.environ), list(sys.path)
    filters = list(warnings.filters)
    draws = random.getstate(), np.random.get_state(), torch.get_rng_state()
    switches = _switches()
    try:
        yield
    finally:
        os.chdir(folder)
        _put_back(environment)
        sys.path[:] = path
        warnings.filters[:] = filters  # type: ignore[index]
        random.setstate(draws[0])
        np.random.set_state(draws[1])
        torch.set_rng_state(draws[2])
        for (setter, before), (_, now) in zip(switches, _switches(), strict=True):
            if now != before:
                setter(before)


def _put_back(environment: dict[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _switches() -> list[tuple[Callable[..., object], object]]:
    """Every switch of torch's that is not a random state: what sets it, and what it is set to."""
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return [
        (torch.set_default_dtype, torch.get_default_dtype()),
        (torch.set_default_device, torch.get_default_device()),
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (torch.set_num_threads, torch.get_num_threads()),
        (torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()),
        (
            partial(torch.use_deterministic_algorithms, warn_only=warn_only),
            torch.are_deterministic_algorithms_enabled(),
        ),
    ]
