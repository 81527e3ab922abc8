"""The files of AV-MNIST: images of written digits and spectrograms of spoken ones, in two parts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan, Settings
from mcr_bench.datasets.features.npy_file import open_npy
from mcr_bench.datasets.formats.npz import is_pointer
from mcr_bench.datasets.media.reasons import Unusable
from mcr_bench.datasets.sequences.pickles import LIST, listed

CLASSES = tuple("0123456789")
SMALLEST, LARGEST = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
SHAPES: Mapping[str, tuple[int, ...]] = {"image": (1, 28, 28), "audio": (1, 112, 112)}
PARTS = ("train", "test")
HELD = 12  # of so many training samples, the last one in the order of the file validates: 5,000 of 60,000
LAYOUT = (
    "SOURCE/\n"
    "  image/train_data.npy, image/test_data.npy     (N, 784) or (N, 28, 28)\n"
    "  audio/train_data.npy, audio/test_data.npy     (N, 112, 112)\n"
    "  train_labels.npy, test_labels.npy             (N,), the digits"
)


def scan(source: Path) -> Scan:
    """Every sample of both parts in the order of ids; UserError that names what is missing or wrong."""
    if not any((source / name).exists() for name in ("image", "audio", "train_labels.npy")):
        raise UserError(f"'{source}' holds no AV-MNIST. Expected:\n{LAYOUT}")
    scan = Scan([])
    parts: dict[str, str] = {}
    for part in PARTS:
        labels = _labels(source / f"{part}_labels.npy")
        files = {m: source / m / f"{part}_data.npy" for m in SHAPES}
        for m, path in files.items():
            _require_samples(path, SHAPES[m], len(labels), source / f"{part}_labels.npy")
        first = len(labels) - len(labels) // HELD
        for row, label in enumerate(labels.tolist()):
            id_ = f"{part}-{row:05d}"
            parts[id_] = "val" if part == "train" and row >= first else part
            scan.clips.append(Clip(id_, label, id_, files))
    scan.clips.sort(key=lambda clip: clip.id)
    scan.lists[LIST] = listed(parts)
    return scan


def recipe() -> Recipe:
    """Both modalities as the files have them, in half precision, which is exact for whole numbers up to 2,048."""
    fields = {m: Field(shape, "float16") for m, shape in SHAPES.items()}
    return Recipe("arrays", {"version": 1}, fields, decode, ("numpy",))


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:  # noqa: ARG001 (there are no settings)
    """Modality -> the values of one sample, in its shape."""
    row = int(clip.id.split("-")[1])
    return {m: _halved(m, open_npy(clip.files[m])[row].reshape(shape)) for m, shape in SHAPES.items()}


def _halved(modality: str, values: Array) -> Array:
    """The values in half precision; `Unusable` where that would lose them."""
    size = float(np.abs(values.astype(np.float64)).max())
    if np.isfinite(size) and size and not SMALLEST <= size <= LARGEST:
        raise Unusable(
            f"its {modality} reaches {size:.3g}, but half precision holds {SMALLEST:.1g} to {LARGEST:,.0f}. Use the "
            "official file, or multiply the whole array by a number that brings it there"
        )
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _labels(path: Path) -> Array:
    """(N,) int64, the digits."""
    y = _opened(path)
    if y.size != len(y) or not np.isin(y, range(len(CLASSES))).all():
        raise UserError(f"'{path}' is {y.dtype} {y.shape}; needed: (N,), digits from 0 to 9. Use the official file.")
    return y.reshape(-1).astype(np.int64)


def _require_samples(path: Path, shape: tuple[int, ...], count: int, labels: Path) -> None:
    x = _opened(path)
    if x.ndim < 2 or x[:1].size != np.prod(shape):
        wanted = " x ".join(map(str, shape[1:]))
        raise UserError(f"'{path}' has shape {x.shape}; needed: {wanted} per sample. Use the official file.")
    if len(x) != count:
        raise UserError(f"'{path}' has {len(x):,} samples, but '{labels}' {count:,}. Use the two files of one part.")


def _opened(path: Path) -> Array:
    if not path.is_file() and not (path.exists() and is_pointer(path)):
        raise UserError(f"'{path}' is missing. Expected:\n{LAYOUT}")
    x = open_npy(path)
    if not x.ndim or not len(x):
        raise UserError(f"'{path}' has no samples. Copy it again from its publisher.")
    return x
