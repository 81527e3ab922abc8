"""A file of one array of NumPy as a source: its header is read first, and pickles never run."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.formats.npz_members import (
    LongHeader,
    NotAnArray,
    OfObjects,
    Stated,
    content_of,
    stated_in,
)

T = TypeVar("T")


class NpyFile:
    """An open source.

    keys: none, as the file holds a single array.
    """

    keys: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stated: Stated = self._checked(lambda file: stated_in(file, path.stat().st_size))

    def memory(self, key: str) -> int:
        """The bytes of memory that the array takes at least."""
        return self._stated.memory

    def read(self, key: str, text: bool) -> Array:
        """The array, of any shape and dtype."""
        return self._checked(content_of)

    def _checked(self, read: Callable[[BinaryIO], T]) -> T:
        """What `read` makes of the open file; its errors name the file and the remedy."""
        try:
            with self._path.open("rb") as file:
                return read(file)
        except NotAnArray as error:
            raise UserError(f"'{self._path}' is not an array of NumPy. Save it with numpy.save.") from error
        except LongHeader as error:
            raise UserError(f"'{self._path}' {error}.") from error
        except OfObjects as error:
            raise UserError(
                f"'{self._path}' is an array of Python objects, which is never unpickled. Save numbers or text of one "
                "shape, such as np.stack(list(x)) or np.array(list(map(str, x)))."
            ) from error
        except Exception as error:  # damaged headers raise errors of several types
            words = quoted(error)
            raise UserError(f"'{self._path}' cannot be read ({words}): it is damaged. Copy it again.") from error
