"""Where one array of a folder is: a file of one array, or a key or column of a file; and the path of such a file."""

from dataclasses import dataclass
from pathlib import Path

from mcr_bench.bench.errors import UserError

SUFFIXES = (".npy", ".pt", ".pth", ".parquet", ".csv", ".jsonl")


@dataclass(frozen=True)
class Source:
    """One array.

    file: the file, named from the folder of the dataset.toml.
    key: the key or column in it; '' for a file that holds a single array.
    """

    file: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.key}" if self.key else self.file


def source_of(where: str, text: object, file: str) -> Source:
    """The source that a text names: `FILE`, `FILE:KEY`, or a key of the set's main file; UserError for anything else.

    where: the file and key that holds the text, for messages. file: the main file, '' if none is stated.

    >>> str(source_of("", "voice.npy", "all.csv")), str(source_of("", "age", "all.csv"))
    ('voice.npy', 'all.csv:age')
    """
    if not isinstance(text, str) or not text:
        raise UserError(f'{where} is {text!r}. Give a text in quotes: "FILE.npy", "FILE.pt:KEY", or a column.')
    name, _, key = text.partition(":")
    if Path(name).suffix.lower() in SUFFIXES:
        return Source(name, key)
    if not file:
        raise UserError(
            f"{where} is '{text}', which is not a file that is read ({', '.join(SUFFIXES)}). Name such a file, or "
            'state the file that has it as a column: file = "samples.csv".'
        )
    return Source(file, text)


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file in the folder; UserError for a name that leads out of it, or to no file.

    where: what names the file, for messages.
    """
    path = folder / name
    try:
        within = path.resolve().is_relative_to(folder.resolve())
        there = within and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # names that no file can have, links that go in circles
        raise UserError(f"{where}: '{name}' cannot be the name of a file ({error}). Correct it.") from error
    if not within:
        raise UserError(
            f"{where}: '{name}' leads out of the folder, and only files in it are read. Put the file into '{folder}', "
            "and name it from there."
        )
    if not there:
        kind = "is not a file" if path.exists() else "does not exist"
        raise UserError(f"{where}: '{path}' {kind}. Correct the name, or copy the file there.")
    return path


def name_in(folder: Path, path: Path) -> str:
    """The name from a folder of a path in it, which may have been given in full, or by another link to the folder.

    >>> name_in(Path("mine"), Path("mine/faces/a.png"))
    'faces/a.png'
    """
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return path.resolve().relative_to(folder.resolve()).as_posix()
