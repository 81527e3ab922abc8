"""The files of data that runs were given: which runs a path means."""

from pathlib import Path


def file_of(text: str) -> Path:
    """A path of `run`; of `./my_set.py:MySet` that of the file.

    >>> file_of("sets/my_set.py:MySet").as_posix()
    'sets/my_set.py'
    """
    file, colon, _ = text.rpartition(".py:")
    return Path(f"{file}.py" if colon else text).expanduser()


def place_of(source: str) -> Path | None:
    """The file that a run was given, as far as the present folder leads to it; None for a registered dataset.

    source: the tag `dataset_source` of the run.
    """
    file = file_of(source)
    return file.resolve() if file.suffix else None
