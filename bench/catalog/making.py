"""A dataset made ready: its adapter, with its dials set, at the place where the data lies."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.dataset_returns import guarded
from mcr_bench.bench.core.behaviour import behaviour_digest
from mcr_bench.bench.core.home import usable
from mcr_bench.bench.core.user_files import is_of_a_file
from mcr_bench.bench.settings.declaration import Value, build

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset


def make_dataset(name: str, data_root: Path, dials: Mapping[str, Value]) -> "Dataset":
    """The adapter of that name, placed as `placed` does."""
    return placed(registry.dataset(name), name, data_root, dials)


def placed(cls: "type[Dataset]", name: str, data_root: Path, dials: Mapping[str, Value]) -> "Dataset":
    """An adapter at the user's file `name` where it reads files of data, else at DATA_ROOT/NAME.

    UserError where there can be no such file or folder.
    """
    location = registry.named_path(name) if cls.suffixes else usable(data_root, "--data-root") / cls.name
    data = build(cls, dials, location=location)
    return guarded(data) if is_of_a_file(cls) else data


def fingerprint_of(data: "Dataset") -> str:
    """The digest of the content that a run depends on; the adapter's code counts where it is a file of the user's."""
    if not is_of_a_file(type(data)):
        return data.fingerprint()
    return hashlib.sha256(f"{data.fingerprint()} {behaviour_digest(type(data))}".encode()).hexdigest()
