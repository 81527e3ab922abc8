"""Split lists as text files: recognised by name in any letter case, read completely, split into numbered lines."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.core.inputs.texts import GROWTH
from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.formats.npz import POINTER, pointer_error


def by_lower_name(folder: Path) -> dict[str, Path]:
    """Name in lower case -> path, of everything in a folder; of names that differ in case alone, the first one."""
    if not folder.is_dir():
        return {}
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        paths.setdefault(path.name.lower(), path)
    return paths


def list_files(folder: Path, names: Iterable[str], splits: Sequence[Path]) -> dict[str, Path]:
    """Name -> path of each available list: the file that the user gives in `splits`, or else the one in `folder`.

    names: the lists to look for. UserError for a file in `splits` that is missing, has none of the names, or the name
    of another one.
    """
    official = {name.lower(): name for name in names}
    files = {official[lower]: path for lower, path in by_lower_name(folder).items() if lower in official}
    given: dict[str, Path] = {}
    for path in splits:
        if path.name.lower() not in official:
            raise unknown("split list", path.name, official.values())
        if not path.is_file():
            raise UserError(f"'{path}' is not a file. Give the path of a split list.")
        name_once(given, official[path.name.lower()], path)
    files |= given
    return {name: files[name] for name in official.values() if name in files}


def name_once(given: dict[str, Path], kind: str, path: Path) -> None:
    """Add a list of the user to those that are `given`; UserError if there is another one of the same kind."""
    if given.setdefault(kind, path) != path:
        raise UserError(f"'{given[kind]}' and '{path}' are both {kind}. Give only one of them.")


def read_lists(files: Mapping[str, Path]) -> dict[str, bytes]:
    """Name -> content; UserError for a git-LFS pointer, a file that is not text, and one that cannot be read."""
    return {name: _read(path) for name, path in files.items()}


def _read(path: Path) -> bytes:
    content = read_content(path)
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' cannot be read as text ({error}). Copy the list again.") from error
    return content


def read_content(path: Path) -> bytes:
    """The bytes of a file; UserError for a git-LFS pointer and for a file that cannot be read."""
    try:
        check_size(path, GROWTH * path.stat().st_size)
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}). Copy the list itself there again.") from error
    if content.startswith(POINTER):
        raise pointer_error(path, "list")
    return content


LINE_END = re.compile(r"\r\n|\n|\r")  # other marks that Unicode ends a line with stand within texts


def numbered_lines(content: bytes) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank, without spaces and line ends (LF or CRLF) around it.

    >>> list(numbered_lines(b"first line" + bytes([13, 10, 10]) + b" third "))
    [(1, 'first line'), (3, 'third')]
    """
    for number, line in enumerate(LINE_END.split(content.decode("utf-8-sig")), 1):
        if line.strip():
            yield number, line.strip()


def cells_of(line: str) -> list[str]:
    """The cells of a line of CSV; none where it cannot be read, as a cell of megabytes.

    >>> cells_of('a, "b, c"')
    ['a', 'b, c']
    """
    try:
        return next(csv.reader([line], skipinitialspace=True))
    except csv.Error:
        return []


def without_entries(lists: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """(list, problem) of each list that is blank.

    >>> without_entries({"train.csv": b" ", "test.csv": b"a"})
    [('train.csv', 'the list is empty; use it as it was published')]
    """
    blank = [name for name, content in lists.items() if not content.removeprefix(codecs.BOM_UTF8).strip()]
    return [(name, "the list is empty; use it as it was published") for name in blank]


def repeated(name: str, ids: Iterable[str]) -> list[tuple[str, str]]:
    """(id, problem) of each id that the list `name` has more than once.

    >>> repeated("valSet.txt", ["a", "b", "a"])
    [('a', 'in valSet.txt more than once; used once')]
    """
    return [(key, f"in {name} more than once; used once") for key, count in Counter(ids).items() if count > 1]
