"""What all encoders have in common that may come with pre-trained weights."""

from collections.abc import Callable

from torch import nn

from mcr_bench.bench.models.declared import (
    OF_WEIGHTS,
    SIZES,
    EncoderKind,
    Values,
    as_encoder_settings,
    encoder_settings,
)
from mcr_bench.bench.problem.facts import Modality
from mcr_bench.bench.settings.training import EncoderSettings

Build = Callable[[Modality, int, EncoderSettings], nn.Module]


def pretrained(
    name: str,
    about: str,
    build: Build,
    axes: tuple[int, ...],
    padded: tuple[int, ...] = (),
    takes: Callable[[Modality], bool] = lambda _: True,
) -> EncoderKind:
    """The declaration of an encoder from transformers: it has the settings of weights, and gives tokens.

    build: (the modality, the width d of the features, settings) -> a module, values (B, ...) -> features (B, d).
    The other arguments are those of `EncoderKind`.
    """

    def make(modality: Modality, out: int, values: Values) -> nn.Module:
        return build(modality, out, as_encoder_settings(values))

    return EncoderKind(
        name=name,
        about=about,
        make=make,
        axes=axes,
        padded=padded,
        takes=takes,
        settings=encoder_settings(*SIZES, *OF_WEIGHTS),
        tokens=True,
        extra="backbones",
        library="transformers",
    )
