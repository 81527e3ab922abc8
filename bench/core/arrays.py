"""The type of NumPy arrays that are read from files: any element type and any shape."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
