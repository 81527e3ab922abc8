"""Modes for a block: evaluation, weights that get no gradient, and passes that can be differentiated twice."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mcr_bench.bench.core.device import without_cudnn


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
    if any(type(part).train is not nn.Module.train or type(part).eval is not nn.Module.eval for part in in_training):
        module.eval()  # a part does more there than to change its mode
    _set_modes(in_training, False)
    try:
        yield
    finally:
        _set_modes(in_training, True)


@contextmanager
def without_gradient(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside the block these parameters require no gradient; what leads to them alone is then not computed.

    >>> layer = nn.Linear(1, 1)
    >>> with without_gradient(layer.parameters()):
    ...     layer.weight.requires_grad
    False
    >>> layer.weight.requires_grad
    True
    """
    learning = [p for p in parameters if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


@contextmanager
def twice_differentiable(module: nn.Module) -> Iterator[None]:
    """Inside the block `module` takes the slower implementations that have second derivatives.

    These are those of attention and of recurrent layers; what is compiled runs as it is written. Without recurrent
    layers cuDNN stays, as convolutions take many times as long without it.
    """
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    compiler_is_used = "torch._dynamo" in sys.modules  # not imported here, which takes more than a second
    eager = torch.compiler.set_stance("force_eager") if compiler_is_used else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), without_cudnn() if recurrent else nullcontext(), eager:
        yield


def _set_modes(parts: list[nn.Module], training: bool) -> None:
    """Set the mode of each part, past the checks of every assignment to a module, which cost most of a short block."""
    for part in parts:
        if "training" in vars(part):
            vars(part)["training"] = training
        else:  # a scripted module keeps it elsewhere
            part.training = training
