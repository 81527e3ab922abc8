"""Named random streams: the same seed gives every method the same initial weights and the same batches.

A draw is a pure function of (seed, stream, names): nothing is consumed, so a resumed run needs no generator state
and a method that draws more, or less, shifts nobody else's draws. Streams: init, batches, augment, method, data.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from mcr_bench.bench.core import device as devices

STREAMS = ("init", "batches", "augment", "method", "data")


def stream_seed(seed: int, stream: str, *names: object) -> int:
    """A 63-bit seed for one named draw of `stream`; raises ValueError for a stream that does not exist."""
    if stream not in STREAMS:
        raise ValueError(f"unknown stream '{stream}'; streams are {', '.join(STREAMS)}")
    text = "\x1f".join([str(seed), stream, *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, stream: str, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one named draw."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, stream, *names))


def reseed(device: torch.device, seed: int, stream: str, *names: object) -> None:
    """Let torch's default generators of the CPU and of `device` follow a named draw.

    The same draws as `torch.manual_seed`, which also formats the call stack for every absent kind of accelerator.
    """
    value = stream_seed(seed, stream, *names)
    torch.default_generator.manual_seed(value)
    devices.seed(device, value)


def reseed_libraries(seed: int, stream: str, *names: object) -> None:
    """Let Python's and NumPy's default generators, which a user's method may draw from, follow a named draw."""
    value = stream_seed(seed, stream, *names)
    random.seed(value)
    np.random.seed(value % 2**32)


@contextmanager
def seeded(seed: int, stream: str, *names: object) -> Iterator[None]:
    """Inside, torch's CPU default generator follows the named stream; outside, it is as it was."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(stream_seed(seed, stream, *names))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def initialise(model: nn.Module, seed: int) -> None:
    """Draw every parameter anew, module by module, keyed by the module's qualified name.

    The draws depend neither on the order in which modules were made nor on which other modules there are: methods
    that share a module start from the same weights. Every module that owns parameters must have `reset_parameters`,
    or lie in a module with `draw_all()`, which draws or loads all that is in it at once.
    """
    drawn: list[str] = []
    for name, module in model.named_modules():
        if name.startswith(tuple(drawn)):
            continue
        whole = getattr(module, "draw_all", None)
        if whole is not None:
            with seeded(seed, "init", name):
                whole()
            drawn.append(f"{name}." if name else "")
            continue
        if next(module.parameters(recurse=False), None) is None:
            continue
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if reset is None:
            raise TypeError(f"module '{name}' ({type(module).__name__}) owns parameters but has no reset_parameters()")
        with seeded(seed, "init", name):
            reset()
