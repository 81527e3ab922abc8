"""Layers that several encoders are made of."""

from torch import nn

STRIDE = 2  # of every convolution here


def draw_he(convolution: nn.Conv1d | nn.Conv2d) -> None:
    """He normal weights (fan in), zero bias."""
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)


def activated(linear: nn.Module, dropout: float) -> nn.Sequential:
    """A layer, ReLU, and dropout where there is any."""
    return nn.Sequential(linear, nn.ReLU(), *([nn.Dropout(dropout)] if dropout else []))
