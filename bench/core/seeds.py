"""Named random streams: the same seed gives every method the same initial weights and the same batches.

A draw is a pure function of (seed, stream, names). No generator is used twice, so a resumed run needs no generator
state, and a method that draws more or fewer numbers does not change the draws of another one. Streams: init (initial
weights), batches (their order), augment (random changes of inputs), method (draws of the method itself) and data
(generated samples).
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
    """The 63-bit seed of one named draw of `stream`. ValueError for an unknown stream.

    >>> stream_seed(0, "init", "encoders.audio") == stream_seed(0, "init", "encoders.audio")
    True
    >>> stream_seed(0, "init", "encoders.audio") == stream_seed(0, "init", "encoders.video")
    False
    """
    if stream not in STREAMS:
        raise ValueError(f"unknown stream '{stream}'; streams are {', '.join(STREAMS)}")
    text = "\x1f".join([str(seed), stream, *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, stream: str, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator on `device`, seeded for one named draw."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, stream, *names))


def reseed(device: torch.device, seed: int, stream: str, *names: object) -> None:
    """Seed torch's default generators of the CPU and of `device` for a named draw.

    They then draw what they draw after `torch.manual_seed`. That function is not used because it formats the call stack
    once for every kind of accelerator that is not available, which takes time in every step.
    """
    value = stream_seed(seed, stream, *names)
    torch.default_generator.manual_seed(value)
    devices.seed(device, value)


def reseed_libraries(seed: int, stream: str, *names: object) -> None:
    """Seed Python's and NumPy's default generators, which a user's method may draw from, for a named draw."""
    value = stream_seed(seed, stream, *names)
    random.seed(value)
    np.random.seed(value % 2**32)


def reseed_all(device: torch.device, seed: int, stream: str, *names: object) -> None:
    """Seed every default generator for a named draw: Python's, NumPy's, and torch's of the CPU and of `device`."""
    reseed_libraries(seed, stream, *names)
    reseed(device, seed, stream, *names)


@contextmanager
def seeded(seed: int, stream: str, *names: object) -> Iterator[None]:
    """Inside the block torch's default CPU generator is seeded for a named draw; afterwards it has its old state."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(stream_seed(seed, stream, *names))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def initialise(model: nn.Module, seed: int, within: str = "") -> None:
    """Draw the initial values of every parameter, module by module, keyed by the module's qualified name.

    within: the qualified name of `model` itself, where it is a part of another module.

    The draws depend neither on the order in which modules were made nor on the other modules of the model, so methods
    that share a module start from the same weights. Every module that owns parameters must have `reset_parameters`,
    or lie inside a module that has `draw_all()`, which draws or loads all parameters in it. TypeError otherwise.

    >>> first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> initialise(first, seed=5)
    >>> initialise(second, seed=5)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    drawn: list[str] = []
    for name, module in model.named_modules(prefix=within):
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
            raise TypeError(
                f"module '{name}' ({type(module).__name__}) owns parameters but has no reset_parameters(): give that "
                "class a method of this name that draws them, or a module around it draw_all(), which draws all in it"
            )
        with seeded(seed, "init", name):
            reset()
