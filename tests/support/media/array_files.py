"""Small complete copies of sets that are published as arrays: MM-IMDb's HDF5 file and AV-MNIST's .npy files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcr_bench.datasets.features.mm_imdb_file import GENRES

FILE = "multimodal_imdb.hdf5"
PARTS = {"train": (0, 16), "dev": (16, 20), "test": (20, 24)}
FILMS = 24
SMALL: dict[str, Any] = {"text_channels": 6, "image_channels": 8}


def genres() -> Any:
    """Every film has two genres."""
    made = np.zeros((FILMS, len(GENRES)), np.int32)
    for film in range(FILMS):
        made[film, [film % 3, 5 + film % 4]] = 1
    return made


def write_films(folder: Path, change: Callable[[h5py.File], object] | None = None) -> Path:
    """A small file as gmu-mmimdb makes it, with the parts as Fuel states them."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(0)
    with h5py.File(folder / FILE, "w") as file:
        file["features"] = draws.normal(size=(FILMS, 6)).astype(np.float32) + genres()[:, :3].sum(1, keepdims=True)
        file["vgg_features"] = draws.normal(size=(FILMS, 8)).astype(np.float32)
        file["images"] = draws.integers(-120, 150, (FILMS, 3, 256, 160)).astype(np.int32)
        file["genres"] = genres()
        file["genres"].attrs["target_names"] = json.dumps(GENRES)
        file["imdb_ids"] = np.array([f"{film:07d}" for film in range(100, 100 + FILMS)], "S7")
        kind = [("split", "S5"), ("source", "S12"), ("start", np.int64), ("stop", np.int64)]
        rows = [(part, source, *of) for part, of in PARTS.items() for source in ("features", "genres")]
        file.attrs["split"] = np.array(rows, kind)
        if change:
            change(file)
    return folder


COUNTS = {"train": 36, "test": 12}


def write_digits(folder: Path) -> Path:
    """A small tree in the official layout: images as floats, spectrograms as bytes, both 0 to 255."""
    for seed, (part, count) in enumerate(COUNTS.items()):
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 10
        image = draws.integers(0, 100, (count, 784)) + 15 * labels[:, None]
        audio = draws.integers(0, 100, (count, 112, 112)) + 15 * labels[:, None, None]
        for name, array in (("image", image.astype(np.float64)), ("audio", audio.astype(np.uint8))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            np.save(folder / name / f"{part}_data.npy", array)
        np.save(folder / f"{part}_labels.npy", labels.astype(np.float64))
    return folder
