"""A clip of a web video as a row of the cache: the log magnitude of its first seconds of sound, and a few frames."""

from collections.abc import Mapping

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.cache.recipe import Clip, Field, Settings
from mcr_bench.datasets.raw.extracted import shown, sound_file
from mcr_bench.datasets.raw.sound_and_frames import row_of, sound_and_frames

VERSION = 1
RATE = 22050
N_FFT, HOP = 512, 353


def fields(settings: Settings) -> dict[str, Field]:
    """The arrays of a cache: log magnitudes (1, 257, steps), frames and aspect."""
    steps = 1 + round(settings["seconds"] * RATE) // HOP
    return sound_and_frames((1, N_FFT // 2 + 1, steps), settings["frames"], settings["frame_size"])


def decode(clip: Clip, settings: Settings) -> Mapping[str, Array]:
    """One row of each array: the first `seconds` of sound, repeated if it is shorter, and the frames at 0, 1, 2, ... s.

    They are audio (1, 257, steps) float16, video (frames, 3, size, size) uint8 and aspect () float32. For times after
    the end of the clip its last frame is used.
    """
    from mcr_bench.datasets.media.decode import read_audio
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

    path, seconds = sound_file(clip), settings["seconds"]
    wave = tile(require_sound(read_audio(path, RATE, 0.0, seconds), path.name), round(seconds * RATE))
    frames = shown(clip, range(settings["frames"]), pad=True)
    return row_of(log_magnitude(wave, N_FFT, HOP)[None], frames, settings["frame_size"])
