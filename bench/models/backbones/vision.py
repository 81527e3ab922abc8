"""ViViT (Arnab et al., 2021) over clips and Swin (Liu et al., 2021) over frames."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mcr_bench.bench.errors import UserError
from mcr_bench.bench.models.backbones.whole import (
    State,
    Whole,
    attention_heads,
    configuration,
    first_layers,
    library,
    loaded,
    whole,
)
from mcr_bench.bench.models.frames import FrameEncoder
from mcr_bench.bench.models.over_time import mask_of
from mcr_bench.bench.settings.training import EncoderSettings

TUBELET = (2, 16, 16)
POSITIONS = "embeddings.position_embeddings"


class VivitEncoder(nn.Module):
    """Clips (B, T, C, H, W) -> the class token of ViViT, linear to (B, d); an odd last frame is not seen.

    Weights for another number of frames (ViViT-B: 32): their positions are interpolated linearly over time.
    """

    def __init__(self, shape: tuple[int, ...], out: int, settings: EncoderSettings) -> None:
        super().__init__()
        frames, channels, height, width = shape
        if height != width or height < TUBELET[1] or frames < TUBELET[0]:
            raise UserError(
                f"encoder.kind=vivit takes at least 2 square frames of at least 16 pixels, not {frames} of "
                f"{height} x {width}."
            )
        fresh = {
            "hidden_size": settings.width,
            "num_hidden_layers": settings.depth,
            "num_attention_heads": attention_heads(settings.width),
            "intermediate_size": 4 * settings.width,
            "image_size": height,
            "num_frames": frames,
            "num_channels": channels,
            "tubelet_size": list(TUBELET),
        }
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), settings.dropout)
        stored = first_layers(configuration("vivit", settings.weights, fresh, rates), settings.layers)
        require_fit(settings.weights, stored, channels, height)
        config = copy.deepcopy(stored)
        config.num_frames = frames
        model = library().VivitModel
        load = partial(_vivit_state, model, stored, settings.weights, frames) if settings.weights else None
        self.whole = Whole(partial(model, config, add_pooling_layer=False), load, settings.frozen)
        self.project = nn.Linear(config.hidden_size, out)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Clips (B, T, C, H, W) -> features (B, d)."""
        features: Tensor = self.project(self.whole(values).last_hidden_state[:, 0])
        return features

    def tokens(self, values: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (B, 1 + S, d) of the class token and of every place, and a mask (B, 1 + S) that is True."""
        projected: Tensor = self.project(self.whole(values).last_hidden_state)
        return projected, mask_of(projected, None)


class SwinTrunk(nn.Module):
    """Images (N, C, H, W) -> (N, K, h, w): Swin's last stage after its norm."""

    def __init__(self, shape: tuple[int, ...], settings: EncoderSettings) -> None:
        super().__init__()
        channels, height, width = shape[-3:]
        if settings.layers:
            raise UserError("encoder.layers is for encoders whose layers are all alike; swin has stages. Use 0.")
        heads = max(1, settings.width // 32)
        heads = next(n for n in range(heads, 0, -1) if settings.width % n == 0)
        depth = settings.depth
        fresh = {
            "embed_dim": settings.width,
            "depths": [depth, depth, 3 * depth, depth],
            "num_heads": [heads, 2 * heads, 4 * heads, 8 * heads],
            "num_channels": channels,
        }
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
        changed = {"image_size": [height, width], "drop_path_rate": settings.dropout, **rates}
        config = configuration("swin", settings.weights, fresh, changed)
        require_fit(settings.weights, config, channels, None)
        self.size = int(config.embed_dim * 2 ** (len(config.depths) - 1))
        self.whole = whole(library().SwinModel, config, settings.weights, settings.frozen, add_pooling_layer=False)
        grids = [_grid(side, config.patch_size, len(config.depths)) for side in (height, width)]
        self.grid = tuple(sides[-1] for sides in grids)
        model: Any = self.whole.model
        for stage, grid in zip(model.encoder.layers, zip(*grids, strict=True), strict=True):
            if min(grid) <= config.window_size:
                _one_window(stage)

    def forward(self, images: Tensor) -> Tensor:
        places: Tensor = self.whole(images).last_hidden_state.mT.unflatten(2, self.grid)
        return places


def swin_encoder(shape: tuple[int, ...], out: int, settings: EncoderSettings) -> FrameEncoder:
    """Swin on every frame, mean over space and frames, linear to (B, d). Width 96 and depth 2 are Swin-T.

    width: channels of the first stage, doubled in each of the three that follow; depth: blocks of a stage, of the
    third 3 times as many; dropout: the rate of stochastic depth, which is what Swin is regularised with.
    """
    trunk = SwinTrunk(shape, settings)
    return FrameEncoder(trunk, nn.Linear(trunk.size, out))


def require_fit(weights: str, config: Any, channels: int, size: int | None) -> None:
    """UserError where pre-trained weights are for other channels, or for frames of another size than `size`."""
    if config.num_channels != channels:
        raise UserError(f"encoder.weights={weights} are for {config.num_channels} channels, not for {channels}.")
    if size is not None and config.image_size != size:
        raise UserError(
            f"encoder.weights={weights} are for frames of {config.image_size} pixels, not {size}. Resize the frames."
        )


def resized_positions(positions: Tensor, before: int, after: int) -> Tensor:
    """(1, 1 + `before` S, K) for S places in each step -> (1, 1 + `after` S, K): linear in time, class token kept."""
    token, rest = positions[:, :1], positions[:, 1:]
    if before == after:
        return positions
    by_step = rest.unflatten(1, (before, -1)).flatten(2).mT
    resized = F.interpolate(by_step, after, mode="linear").mT.unflatten(2, (-1, positions.shape[2])).flatten(1, 2)
    return torch.cat((token, resized), 1)


def _vivit_state(model: Any, stored: Any, weights: str, frames: int) -> State:
    state = loaded(model, stored, weights, add_pooling_layer=False)
    step = stored.tubelet_size[0]
    state[POSITIONS] = resized_positions(state[POSITIONS], stored.num_frames // step, frames // step)
    return state


def _grid(side: int, patch: int, stages: int) -> list[int]:
    """Patches along a side in each stage: merging halves them, rounding up."""
    grid = [-(-side // patch)]
    while len(grid) < stages:
        grid.append(-(-grid[-1] // 2))
    return grid


def _one_window(stage: Any) -> None:
    """Maps no larger than a window are padded to one, unshifted.

    The library would shrink the window, for which its table of relative positions then has the wrong size (5.23).
    """
    for block in stage.blocks:
        block.shift_size = 0
        block.set_shift_and_window_size = _leave


def _leave(resolution: tuple[int, int]) -> None:
    """Window and shift stay as they are."""
