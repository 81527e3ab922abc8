"""Evaluation mode for a block, for passes through a module that must not change it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Inside the block `module` and its parts are in evaluation mode: no dropout, running statistics unchanged.

    Afterwards every part has the mode that it had before. Gradients flow as usual.

    >>> layer = nn.Dropout()
    >>> with evaluation_mode(layer):
    ...     layer.training
    False
    >>> layer.training
    True
    """
    in_training = [part for part in module.modules() if part.training]
    if in_training:
        module.eval()
    try:
        yield
    finally:
        for part in in_training:
            part.training = True
