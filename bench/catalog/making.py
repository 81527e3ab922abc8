"""A dataset made ready: its adapter, with its dials set, at the place where the data lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.settings.declaration import Value, build

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset


def make_dataset(name: str, data_root: Path, dials: Mapping[str, Value]) -> "Dataset":
    """The adapter, placed at the user's file or at DATA_ROOT/NAME."""
    cls = registry.dataset(name)
    location = Path(name).expanduser() if cls.suffixes else data_root / cls.name
    return build(cls, dials, location=location)
