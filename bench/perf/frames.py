"""A cache of frames and spectrograms with random content, as large as that of real clips, made without any file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.datasets.base import Preparation, Rows, Split
from mcr_bench.datasets.cache.opened import Cache, cache_folder, open_cache
from mcr_bench.datasets.cache.prepare import prepare_clips
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.clips.rows import CachedRows, Plain
from mcr_bench.datasets.clips.views import Frames

FRAMES, STORED, SIZE, SPECTRUM = 3, 256, 224, (257, 188)  # CREMA-D's frames; side of the cached and the used ones


def random_cache(folder: Path, clips: int) -> Cache:
    """A cache of `clips` clips with random content in `folder`, written as `data prepare` writes one."""
    source = folder / "raw"
    source.mkdir()
    (source / "clip").touch()
    listed = [Clip(str(clip), clip % 6, str(clip), {"clip": source / "clip"}) for clip in range(clips)]
    recipe = Recipe("perf", {"side": STORED}, fields(STORED), random_clip)
    prepare_clips("perf", recipe, Scan(listed), Preparation(source), cache_folder(folder, recipe))
    return open_cache(cache_folder(folder, recipe))


def fields(side: int) -> dict[str, Field]:
    """What the cache holds of a clip: uint8 frames, a float16 spectrogram and the frames' aspect ratio."""
    shapes = {"video": ((FRAMES, 3, side, side), "uint8"), "audio": ((1, *SPECTRUM), "float16")}
    return {name: Field(*form) for name, form in {**shapes, "aspect": ((), "float32")}.items()}


def random_clip(clip: Clip, settings: Mapping[str, Value]) -> dict[str, Array]:
    """Frames (3, 3, side, side), spectrogram (1, 257, 188) and aspect ratio () of a clip, drawn for its id."""
    draws, side = np.random.default_rng(int(clip.id)), int(settings["side"])
    audio = draws.standard_normal((1, *SPECTRUM)).astype(np.float16)
    video = draws.integers(0, 256, (FRAMES, 3, side, side), np.uint8)
    return {"video": video, "audio": audio, "aspect": np.array(4 / 3, np.float32)}


def cached_split(cache: Cache, augment: bool, copies: int = 1) -> Split:
    """The cached clips, each as often as `copies` says: modality m1 has the spectrograms, m2 the frames."""
    at = np.tile(np.arange(len(cache.rows)), copies)
    values: dict[str, Tensor | Rows] = {
        "m1": CachedRows(cache, Plain("audio"), at),
        "m2": CachedRows(cache, Frames("video", SIZE, random=augment), at),
    }
    return Split(values, torch.from_numpy(cache.index.labels[at]), [str(place) for place in range(len(at))])
