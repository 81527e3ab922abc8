"""The part of `make perf` on reading: the speed of reading an epoch from a cache over decoding its files.

The cache is compared with a loader that works like the public one of OGM-GE: for each sample it reads a WAV file,
resamples it and computes its spectrogram, and opens three JPEG files with Pillow, each transformed on its own. Both
give the same kinds of tensors, in one process with one torch thread, with all files in the page cache.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import fft
from scipy.io import wavfile
from scipy.signal import resample_poly
from torch import Tensor

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.perf.frames import FRAMES, SIZE, STORED, cached_split, fields
from mcr_bench.bench.perf.measured import Machine, Measured, ratio
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.cache.opened import Cache, cache_folder, open_cache
from mcr_bench.datasets.cache.prepare import prepare_clips
from mcr_bench.datasets.cache.recipe import Clip, Recipe, Scan
from mcr_bench.datasets.clips.views import IMAGENET_MEAN, IMAGENET_STD

CLIPS, BATCH, ROUNDS = 64, 16, 5
WIDTH, HEIGHT = 480, 360  # of CREMA-D's frames
RECORDED, RATE, SECONDS, N_FFT, HOP = 16000, 22050, 3, 512, 353


def reading(_: Machine) -> Iterator[Measured]:
    """Three ratios: of rows as they are stored, with resizing, and with the random crops of training.

    They are read by one thread of the CPU, whatever the machine.
    """
    with tempfile.TemporaryDirectory() as name:
        source, folder = Path(name) / "raw", Path(name) / "data"
        make_clips(source)
        exact, stored = (make_cache(source, folder, side) for side in (SIZE, STORED))
        yield speed("reading only", source, exact, augment=False)
        yield speed(f"reading and resizing {STORED} to {SIZE}", source, stored, augment=False)
        yield speed("training augmentation", source, stored, augment=True)


def make_clips(folder: Path) -> None:
    """Write the files of 64 clips: three JPEG images and a WAV file each.

    The images are as smooth as CREMA-D's: a JPEG of quality 95 takes 33 KiB.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, columns = fft.fftfreq(HEIGHT)[:, None], fft.rfftfreq(WIDTH)
    falling = np.maximum(np.hypot(rows, columns), 1 / WIDTH) ** -1.9
    for clip in range(CLIPS):
        for frame in range(FRAMES):
            noise = fft.rfft2(rng.standard_normal((3, HEIGHT, WIDTH)))
            grain = fft.irfft2(noise * falling, s=(HEIGHT, WIDTH))
            mixed = grain.mean(0) + 0.3 * grain  # channels of a picture resemble each other
            pixels = np.clip(128 + 50 * mixed / mixed.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(pixels).save(_files(folder, clip)[str(frame)], quality=95)
        wave = rng.standard_normal(int(RECORDED * rng.uniform(1.5, 3))) * 3000
        wavfile.write(_files(folder, clip)["audio"], RECORDED, wave.astype(np.int16))


def make_cache(source: Path, folder: Path, side: int) -> Cache:
    """The same clips as `data prepare` writes them: uint8 frames and float16 spectrograms, memory-mapped."""
    clips = [Clip(str(clip), clip % 6, str(clip), _files(source, clip)) for clip in range(CLIPS)]
    recipe = Recipe("perf", {"side": side}, fields(side), decode)
    prepare_clips("perf", recipe, Scan(clips), Preparation(source), cache_folder(folder, recipe))
    return open_cache(cache_folder(folder, recipe))


def decode(clip: Clip, settings: Mapping[str, Value]) -> dict[str, Array]:
    """The arrays of one clip: frames (3, 3, side, side), spectrogram (1, 257, 188) and the frames' aspect ratio ()."""
    images = [Image.open(clip.files[str(frame)]) for frame in range(FRAMES)]
    squares = [np.asarray(image.resize((int(settings["side"]),) * 2, Image.Resampling.BILINEAR)) for image in images]
    aspect = np.array(images[0].width / images[0].height, np.float32)
    audio = spectrogram(clip.files["audio"])[None].astype(np.float16)
    return {"video": np.stack(squares).transpose(0, 3, 1, 2), "audio": audio, "aspect": aspect}


def spectrogram(path: Path) -> Array:
    """The spectrogram of a WAV file, (257, 188) float32, in single precision as librosa computes it."""
    rate, samples = wavfile.read(path)
    up, down = RATE // math.gcd(RATE, rate), rate // math.gcd(RATE, rate)
    wave = resample_poly(samples.astype(np.float32) / 32768, up, down).astype(np.float32)
    tiled = np.pad(np.clip(np.resize(wave, SECONDS * RATE), -1, 1), N_FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(tiled, N_FFT)[::HOP]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)
    logarithm: Array = np.log(np.abs(fft.rfft(windows * hann, axis=1)).T + np.float32(1e-7))
    return logarithm


class Files:
    """A loader that decodes the files of a clip every time that it is needed."""

    def __init__(self, folder: Path, augment: bool) -> None:
        self.folder, self.augment = folder, augment
        self.mean, self.std = (torch.tensor(v).reshape(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrograms (B, 1, 257, 188) and frames (B, 3, 3, 224, 224), float32, of the clips at `index` (B,)."""
        pairs = [self.sample(clip) for clip in index.tolist()]
        return torch.stack([audio for audio, _ in pairs]), torch.stack([video for _, video in pairs])

    def sample(self, clip: int) -> tuple[Tensor, Tensor]:
        """Spectrogram (1, 257, 188) and frames (3, 3, 224, 224) of a clip; each image is cropped and flipped alone."""
        files = _files(self.folder, clip)
        images = [self.image(files[str(frame)]) for frame in range(FRAMES)]
        return torch.from_numpy(spectrogram(files["audio"]))[None], torch.stack(images)

    def image(self, path: Path) -> Tensor:
        """An image as (3, 224, 224), normalised; with `augment` cropped at random and flipped with probability 1/2.

        This equals torchvision's RandomResizedCrop(224), or Resize((224, 224)); RandomHorizontalFlip, ToTensor and
        Normalize.
        """
        image = Image.open(path).convert("RGB")
        if self.augment:
            image = image.crop(random_box(image.width, image.height))
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if self.augment and torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return x.sub_(self.mean).div_(self.std)


def random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of a random crop: 8 to 100 % of the area, with an aspect ratio of 3/4 to 4/3.

    The rule is that of torchvision's RandomResizedCrop.
    """
    for _ in range(10):
        area = width * height * float(torch.empty(1).uniform_(0.08, 1))
        ratio = math.exp(float(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3))))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(torch.randint(height - h + 1, (1,))), int(torch.randint(width - w + 1, (1,)))
            return left, top, left + w, top + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def speed(title: str, folder: Path, cache: Cache, augment: bool) -> Measured:
    """The speed of reading an epoch from the cache over that of decoding its files, in CPU seconds."""
    files, split = Files(folder, augment), cached_split(cache, augment)
    _race(files.batch, split.training_batch)
    pairs = [_race(files.batch, split.training_batch) for _ in range(ROUNDS)]
    slow, fast = zip(*pairs, strict=True)
    return ratio(f"data: cache / files, {title}", slow, fast)


def _race(*loads: Callable[[Tensor], object]) -> list[float]:
    """CPU seconds of each loader for the batches of an epoch, in a random order.

    All work is done by one thread of this process, so that these are the seconds of an idle machine. The loaders take
    turns, so that other work of the machine slows all of them equally.
    """
    seconds = [0.0] * len(loads)
    for index in torch.randperm(CLIPS).split(BATCH):
        for place, load in enumerate(loads):
            began = time.process_time()
            load(index)
            seconds[place] += time.process_time() - began
    return seconds


def _files(folder: Path, clip: int) -> dict[str, Path]:
    images = {str(frame): folder / f"{clip}-{frame}.jpg" for frame in range(FRAMES)}
    return {**images, "audio": folder / f"{clip}.wav"}
