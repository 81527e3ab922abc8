"""The type of arrays as they come from files."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
