"""Undo what a user's file changes in the process that imports it.

The command imports users' methods to plan with them, and its workers inherit its working folder, environment and
sys.path. What one file changes there must not affect the runs of another method.
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

from mcr_bench.bench.core.device import backend_switches


@contextmanager
def process_state_kept() -> Iterator[None]:
    """After the block the process has the state that it had before.

    Restored are the working folder, environment variables, sys.path, warning filters, the random states of Python,
    NumPy and torch, and torch's switches. Functions and classes that code inside has replaced are not restored.
    """
    folder, environment, path = os.getcwd(), dict(os.environ), list(sys.path)
    filters = list(warnings.filters)
    draws = random.getstate(), np.random.get_state(), torch.get_rng_state()
    switches = _switches()
    try:
        yield
    finally:
        os.chdir(folder)
        _restore(environment)
        sys.path[:] = path
        warnings.filters[:] = filters  # type: ignore[index]
        random.setstate(draws[0])
        np.random.set_state(draws[1])
        torch.set_rng_state(draws[2])
        for (setter, before), (_, now) in zip(switches, _switches(), strict=True):
            if now != before:
                setter(before)


def _restore(environment: dict[str, str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _switches() -> list[tuple[Callable[..., object], object]]:
    """Torch's global switches: for each, the function that sets it and its present value."""
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return [
        *backend_switches(),
        (torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
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
