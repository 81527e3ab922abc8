"""The data that runs were given: which runs a name or a path means."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from mcr_bench.bench.errors import unknown

T = TypeVar("T")


class Given(NamedTuple):
    """The data of a run: its name in tables, the name or path that it was asked for by, and its fingerprint."""

    dataset: str
    source: str
    fingerprint: str


def meant(asked: str, runs: Sequence[T], given: Callable[[T], Given]) -> tuple[list[T], list[T]]:
    """The runs on a dataset; and where no run was given the path that is asked for, those on data of its name.

    asked: a name in tables, or the path of a file or folder, which need not be there any more. A path leaves out the
    runs on other data of the same name. UserError for what no run is on.
    """
    data, path = [given(run) for run in runs], file_of(asked)
    names = {one.dataset for one in data}
    if not runs or asked in names:
        return [run for run, one in zip(runs, data, strict=True) if one.dataset == asked], []
    place = path.resolve()
    sources = {source for source in {one.source for one in data} if place_of(source) == place}
    mine = {one for one in data if one.source in sources}
    if mine and path.suffix == ".py":  # its settings may give the data of one dataset several fingerprints
        defined = {one.dataset for one in mine}
        return [run for run, one in zip(runs, data, strict=True) if one.dataset in defined], []
    if mine:
        same = {(one.dataset, one.fingerprint) for one in mine}
        return [run for run, one in zip(runs, data, strict=True) if (one.dataset, one.fingerprint) in same], []
    named = [run for run, one in zip(runs, data, strict=True) if one.dataset == path.name and _of_path(one.source)]
    if not named:
        raise unknown("dataset on record", asked, names)
    return [], named


def _of_path(source: str) -> bool:
    """Whether a run was given a path; the first versions did not record it."""
    return not source or place_of(source) is not None


def file_of(text: str) -> Path:
    """A path of `run`; of `./my_set.py:MySet` that of the file.

    >>> file_of("sets/my_set.py:MySet").as_posix()
    'sets/my_set.py'
    """
    file, colon, _ = text.rpartition(".py:")
    return Path(f"{file}.py" if colon else text).expanduser()


def place_of(source: str) -> Path | None:
    """The file or folder that a run was given, as far as the present folder leads to it; None for a registered dataset.

    source: what the dataset was asked for by.
    """
    file = file_of(source)
    return file.resolve() if file.suffix or "/" in source else None
