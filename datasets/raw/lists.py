"""Split lists as text files: found by name whatever their letter case, read whole, split into numbered lines."""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mcr_bench.bench.errors import UserError, unknown
from mcr_bench.datasets.formats.npz import POINTER


def by_lower_name(folder: Path) -> dict[str, Path]:
    """What is in a folder, by its name in lower case; the first of two names that differ in case alone."""
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        found.setdefault(path.name.lower(), path)
    return found


def list_files(folder: Path, names: Iterable[str], splits: Sequence[Path]) -> dict[str, Path]:
    """Those of the lists `names` that are in `folder` or among the user's `splits`, which win.

    UserError for a file among `splits` that is missing, has none of the names, or one that another has.
    """
    known = {name.lower(): name for name in names}
    found = {known[lower]: path for lower, path in by_lower_name(folder).items() if lower in known}
    named: dict[str, Path] = {}
    for path in splits:
        if path.name.lower() not in known:
            raise unknown("split list", path.name, known.values())
        if not path.is_file():
            raise UserError(f"'{path}' is no file. Give the path of a split list.")
        name_once(named, known[path.name.lower()], path)
    found |= named
    return {name: found[name] for name in known.values() if name in found}


def name_once(named: dict[str, Path], kind: str, path: Path) -> None:
    """Add a list that the user names; UserError that names both where another one is of the same kind."""
    if named.setdefault(kind, path) != path:
        raise UserError(f"'{named[kind]}' and '{path}' are both {kind}. Name one of them.")


def read_lists(files: Mapping[str, Path]) -> dict[str, bytes]:
    """Name -> content; UserError for a git-LFS pointer, a file that is no text and one that cannot be read."""
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
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}). Copy the list itself there again.") from error
    if content.startswith(POINTER):
        raise UserError(f"'{path}' is a git-LFS pointer, not the list. Run `git lfs pull` where the file comes from.")
    return content


def numbered_lines(content: bytes) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line that is not blank, without its end (LF or CRLF) and outer blanks."""
    for number, line in enumerate(content.decode("utf-8-sig").splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def without_entries(lists: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """(list, problem) of each that is blank."""
    blank = [name for name, content in lists.items() if not content.removeprefix(codecs.BOM_UTF8).strip()]
    return [(name, "the list is empty; take it again as it was published") for name in blank]


def repeated(name: str, ids: Iterable[str]) -> list[tuple[str, str]]:
    """(id, problem) of each that the list `name` holds more than once."""
    return [(key, f"in {name} more than once; taken once") for key, count in Counter(ids).items() if count > 1]
