"""Official .npy files, read as they lie on disk: pickles never run, and errors name the file and the remedy."""

from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error
from mcr_bench.datasets.formats.opened import opened_once

MAGIC = b"\x93NUMPY"


@opened_once
def open_npy(path: Path) -> Array:
    """The array of a file, memory-mapped and read-only; UserError if it is missing, damaged or not one of numbers."""
    try:
        if is_pointer(path):
            raise pointer_error(path)
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UserError(f"'{path}' is not an array of NumPy. Copy it again from its publisher.")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error}. Check its permissions, or copy it again.") from error
    except ValueError as error:  # object arrays, and files that end early
        raise UserError(f"'{path}' is truncated, or holds Python objects ({error}). Copy it again.") from error
    if array.dtype.kind not in "biuf":
        raise UserError(f"'{path}' holds {array.dtype}, needed: numbers. Copy it again from its publisher.")
    return np.asarray(array)
