"""Places that users name: the home folder, where the record and all generated files go, and files and folders of data.

What is wrong with a name is said here, before anything is written.
"""

import os
import re
from pathlib import Path

from mcr_bench.bench.credentials import conceal
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.bench.printable import masked

DEFAULT, VARIABLE = "results", "MCR_BENCH_HOME"
LONGEST_NAME = 255  # bytes of a file's or folder's name that file systems take
ROOM = 500  # bytes for the names of what is written below a folder
# SQLite opens no file whose path, absolute and without links, has more than 504 bytes. Four are for the ending `.new`.
LONGEST_DATABASE = 500
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
SHOWN = 100  # characters of a name that a message repeats


def default_home() -> Path:
    """The folder for the record and all generated files: MCR_BENCH_HOME, or `results` in the working folder.

    UserError where that cannot be a folder.
    """
    return usable_folder(os.environ.get(VARIABLE) or DEFAULT, VARIABLE)


def data_root_here(asked: Path) -> Path:
    """The folder of prepared datasets on a machine other than the command's: MCR_BENCH_DATA_ROOT there, or `asked`."""
    return Path(os.environ.get("MCR_BENCH_DATA_ROOT") or asked)


def usable_folder(path: str | Path, what: str = "") -> Path:
    """As `usable`, for a folder that may be missing; UserError too where a file is in its place."""
    folder = usable(path, what)
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    if os.path.lexists(there) and not os.path.isdir(there):
        raise _refused(folder, what, f"'{shown(there)}' is not a folder. Give the path of a folder.")
    return folder


def usable(path: str | Path, what: str = "") -> Path:
    """The path that a user means, with `~` expanded; UserError where no program could use it, or an address is given.

    what: what it is the value of, such as `MCR_BENCH_HOME`, where that is not plain.
    """
    place = Path(os.path.expanduser(require_text(str(path), what)))
    if ADDRESS.match(str(place)):
        conceal(str(place))
        raise _refused(place, what, "this is an address. Give the path of a file or folder on this machine.")
    whole = place if place.is_absolute() else Path.cwd() / place
    most = os.pathconf("/", "PC_PATH_MAX") - ROOM
    if (size := _size(str(whole))) > most:
        raise _refused(place, what, f"this path has {size:,} bytes, and at most {most:,} are possible. Shorten it.")
    if (size := max(map(_size, whole.parts))) > LONGEST_NAME:
        raise _refused(
            place, what, f"a name in it has {size:,} bytes, and at most {LONGEST_NAME} are possible. Shorten it."
        )
    return place


def require_text(text: str, what: str = "") -> str:
    """The text itself; UserError where it has bytes that are not UTF-8, or a zero byte, which no record can hold."""
    if "\0" in text:
        raise _refused(text, what, "it holds a zero byte, which no name can hold. Leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(
            text,
            what,
            "it holds bytes that are not UTF-8, and the record keeps names as UTF-8. Rename it, or give another.",
        ) from None
    return text


def usable_database(file: Path) -> Path:
    """The path of a record's SQLite file, absolute and without links; UserError where SQLite could not open it."""
    place = require_text(str(file.resolve()), "the record's database")
    if (size := _size(place)) > LONGEST_DATABASE:
        raise UserError(
            f"the record's database, '{shown(place)}', cannot be used: this path, without links, has {size:,} bytes, "
            f"and SQLite opens files of at most {LONGEST_DATABASE}. Set {VARIABLE} to a folder with a shorter path."
        )
    return Path(place)


def shown(path: str | Path) -> str:
    """A path as messages repeat it, without credentials: of a long one the beginning and the end."""
    text = one_line(masked(str(path)), 10**6)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[-SHOWN // 2 :]}"


def _size(text: str) -> int:
    return len(os.fsencode(text))


def _refused(value: str | Path, what: str, why: str) -> UserError:
    return UserError(f"{what + ': ' if what else ''}'{shown(value)}' cannot be used: {why}")
