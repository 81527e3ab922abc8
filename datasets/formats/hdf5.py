"""How much an array of an HDF5 file takes when it is read: what was never written takes no room on the disk."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.core.inputs.sizes import check_size

if TYPE_CHECKING:
    import h5py


def check_stored(path: Path, array: "h5py.Dataset", whole: bool = True) -> None:
    """UserError if reading an array takes more memory than a file may take: the array, or one row, and one chunk.

    whole: whether all of it is read at once; otherwise one row.
    """
    read = array.shape if whole else array.shape[1:]
    largest = max(math.prod(max(1, n) for n in axes) for axes in (read, array.chunks or ()))
    check_size(path, largest * array.dtype.itemsize, packed=True)
