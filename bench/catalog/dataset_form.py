"""The form of a dataset that comes in a file: what a first one easily forgets fails here, before any of it is used."""

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mcr_bench.bench.catalog.method_form import check_name, check_settings
from mcr_bench.bench.errors import UserError

if TYPE_CHECKING:
    from mcr_bench.datasets.base import Dataset


def check_dataset_form(cls: "type[Dataset]", place: str, taken: Collection[str]) -> None:
    """UserError for a name that is missing, taken or not allowed, wrong settings, or a missing method."""
    where = f"dataset file '{place}': "
    check_name(cls, where, taken)
    if cls.suffixes:
        raise UserError(
            f"{where}{cls.__name__} reads files of data (suffixes = {cls.suffixes}), which `--dataset FILE` can "
            'only find where it is installed: give it the entry point [project.entry-points."mcr_bench.datasets"] '
            f'{cls.name} = "{Path(place).stem}:{cls.__name__}".'
        )
    if inspect.isabstract(cls):
        missing = ", ".join(f"{name}()" for name in sorted(cls.__abstractmethods__))
        raise UserError(
            f"{where}class {cls.__name__} lacks {missing}; docs/data.md (A dataset of your own) shows them."
        )
    check_settings(cls, where, location=Path())
