"""A clip of Something-Something as a row of the cache: frames, and the optical flow at each frame."""

from collections.abc import Mapping

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.recipe import Clip, Settings
from mcr_bench.datasets.media.decode import Unusable, aspect, fit, read_every
from mcr_bench.datasets.media.flow import flow_images

BOUND = 20.0  # pixels per frame: at 12 frames per second, it crosses a frame that is 240 pixels high in one second
# Part of every recipe: another text is another cache.
SETTINGS = {"version": 1, "flow": "DIS medium, from each frame to the next of the video", "bound": BOUND}


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: video (F, 3, S, S) and flow (F, 2, S, S), both uint8, and aspect () float32.

    The frames are number 0, stride, 2 stride, ...; the flow at a frame is the movement to the next frame of the video,
    in pixels of the video. Raises `Unusable`.
    """
    count, stride, size = settings["frames"], settings["stride"], settings["frame_size"]
    every = read_every(clip.files["video"], 1, stride * (count - 1) + 2)
    frames, after = every[::stride][:count], every[1::stride][:count]
    try:
        flow = flow_images(frames, after, size, settings["bound"])
    except ValueError as error:
        raise Unusable(str(error)) from error
    return {"video": fit(frames, size), "flow": flow, "aspect": np.asarray(aspect(frames), np.float32)}
