"""The raw folder of av-digits: recordings of spoken digits, idx files of written ones, and how they become arrays."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan, Settings
from mcr_bench.datasets.formats.idx import read_idx
from mcr_bench.datasets.raw.raw_files import AUDIO, MediaFiles

CLASSES = tuple("0123456789")
LAYOUT = (
    "SOURCE/\n"
    "  recordings/DIGIT_SPEAKER_INDEX.wav     spoken digits, such as 7_theo_12.wav\n"
    "  t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte     MNIST's test part, or also t10k-images.idx3-ubyte, plain or\n"
    "                                                     with .gz; train-... of the training part are used too\n"
    "the files may lie in folders of SOURCE, such as free-spoken-digit-dataset/recordings and MNIST/raw"
)
RATE, SECONDS, BANDS, WINDOW, HOP = 8000, 1, 40, 256, 80
STEPS = 1 + RATE * SECONDS // HOP
SIDE = 28  # rows and columns of an image
LEVELS = 2  # folders of folders of SOURCE are searched
RECIPE = (
    f"av-digits 1: the first second, {BANDS} mel bands of windows of {WINDOW} samples every {HOP}, logarithm of power; "
    "images as bytes"
)


class Images(NamedTuple):
    """Written digits.

    images: (I, 28, 28) uint8.
    labels: (I,) uint8.
    """

    images: Array
    labels: Array

    @property
    def digest(self) -> str:
        """SHA-256 of images and labels."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


def scan(source: Path) -> Scan:
    """The recordings of a raw folder; UserError with the layout if it has none, or with several folders of them."""
    folders = [folder for folder in _folders(source) if any(_name_of(path) for path in folder.iterdir())]
    if not folders:
        raise UserError(f"'{source}' holds no recordings of spoken digits. Expected:\n{LAYOUT}")
    if len(folders) > 1:
        raise UserError(f"'{folders[0]}' and '{folders[1]}' both hold recordings. Keep one of them in SOURCE.")
    media = MediaFiles(".wav", AUDIO)
    files = media.one_per_clip(folders[0])
    named = {path: match for path in files.values() if (match := _name_of(path))}
    problems = [(path.name, "not named DIGIT_SPEAKER_INDEX.wav") for path in files.values() if path not in named]
    clips = [Clip(path.stem, int(match[1]), match[2], {"voice": path}) for path, match in named.items()]
    return Scan(sorted(clips, key=lambda clip: clip.id), problems, notes=media.notes(folders[0].name, named))


def read_images(source: Path) -> Images:
    """The images of a raw folder, those of MNIST's test part first; UserError that names what is missing or wrong."""
    files = {part: [_file(source, part, what) for what in ("images-idx3", "labels-idx1")] for part in ("t10k", "train")}
    pairs = [pair for pair in files.values() if any(pair)]
    if not pairs:
        raise UserError(f"'{source}' holds no images of MNIST. Expected:\n{LAYOUT}")
    parts = [_pair(images, labels) for images, labels in pairs]
    return Images(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def recipe() -> Recipe:
    """The mel spectrogram of the first second of a recording, (101, 40) float32."""
    settings = {"version": 1, "rate": RATE, "seconds": SECONDS, "bands": BANDS, "window": WINDOW, "hop": HOP}
    return Recipe("mel", settings, {"voice": Field((STEPS, BANDS), "float32")}, decode)


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:
    """`voice`, (101, 40) float32; after the end of the recording there is silence. `Unusable` that names the file."""
    from mcr_bench.datasets.media.decode import read_audio
    from mcr_bench.datasets.media.findings import require_sound
    from mcr_bench.datasets.media.spectrogram import log_mel

    path, samples = clip.files["voice"], settings["rate"] * settings["seconds"]
    wave = require_sound(read_audio(path, settings["rate"]), path.name)[:samples]
    padded = np.pad(wave, (0, samples - len(wave)))
    return {"voice": log_mel(padded, *(settings[name] for name in ("rate", "bands", "window", "hop"))).T}


def as_arrays(cache: Cache, images: Images) -> dict[str, Array]:
    """N recordings and I images: voice (N, 101, 40), y, speaker, id (N,), image (I, 28, 28), image_label (I,)."""
    return {
        "voice": np.asarray(cache.arrays["voice"])[cache.rows],
        "y": np.asarray(cache.index.labels, np.int64),
        "speaker": np.array(cache.index.groups),
        "id": np.array(cache.index.ids),
        "image": images.images,
        "image_label": images.labels,
    }


def _name_of(path: Path) -> re.Match[str] | None:
    """Digit, speaker and index in the name of a recording; None for other files.

    >>> _name_of(Path("7_theo_12.wav")).groups()
    ('7', 'theo', '12')
    """
    match = re.fullmatch(r"([0-9])_(.+)_([0-9]+)", path.stem)
    return match if path.suffix.lower() in AUDIO and not path.name.startswith(".") else None


def _folders(source: Path, levels: int = LEVELS) -> Iterator[Path]:
    """The folder and the folders in it, without hidden ones."""
    if not source.is_dir():
        return
    yield source
    if levels:
        for inner in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from _folders(inner, levels - 1)


def _file(source: Path, part: str, what: str) -> Path | None:
    """The file of that part, the plain one where a packed one lies beside it; None without one.

    UserError if it lies in two folders.
    """
    names = [f"{part}-{form}-ubyte{end}" for end in ("", ".gz") for form in (what, what.replace("-idx", ".idx"))]
    paths = [next((folder / name for name in names if (folder / name).is_file()), None) for folder in _folders(source)]
    files = [path for path in paths if path]
    if len(files) > 1:
        raise UserError(f"'{files[0]}' and '{files[1]}' are the same part of MNIST. Keep one of them in SOURCE.")
    return files[0] if files else None


def _pair(images: Path | None, labels: Path | None) -> Images:
    """Images and their labels; UserError unless both are there and belong together."""
    if images is None or labels is None:
        present = images or labels
        missing = "labels" if labels is None else "images"
        raise UserError(f"'{present}' has no {missing} beside it. Expected:\n{LAYOUT}")
    pictures, classes = read_idx(images, 3), read_idx(labels, 1)
    if pictures.shape[1:] != (SIDE, SIDE):
        raise UserError(f"'{images}' holds images of {pictures.shape[1:]}, expected (28, 28). Give MNIST's own files.")
    if len(pictures) != len(classes):
        raise UserError(
            f"'{images}' holds {len(pictures):,} images and '{labels}' {len(classes):,} labels. "
            "Give the two files of one part."
        )
    if len(classes) and classes.max() >= len(CLASSES):
        raise UserError(f"'{labels}' holds the label {classes.max()}; allowed: 0 to 9. Give MNIST's own labels.")
    return Images(pictures, classes)
