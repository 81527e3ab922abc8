"""Extra passes through a module that must leave no trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Inside, `module` and all its parts are in evaluation mode: no dropout draws, running statistics untouched.

    Afterwards each part is in the mode it was in. Gradients flow as usual.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
