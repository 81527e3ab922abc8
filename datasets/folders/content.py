"""All that a dataset.toml describes, read: the arrays by the keys of an .npz, and the digest of every file in use."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import check_size
from mcr_bench.bench.errors import UserError, one_line
from mcr_bench.datasets.contents.words import as_text
from mcr_bench.datasets.folders.files import Files
from mcr_bench.datasets.folders.kept import kept
from mcr_bench.datasets.folders.lists import Padded
from mcr_bench.datasets.folders.mapping import NAME, Described, Input, read_mapping
from mcr_bench.datasets.folders.media import BYTES, blank_note, decoded, paths_of, shape_of
from mcr_bench.datasets.folders.sources import Source, name_in
from mcr_bench.datasets.formats.npz import digest

MOST_NAMED = 50  # characters of a text that a message names: one quotation mark too many joins lines


@dataclass(frozen=True)
class Content:
    """What was read of a folder.

    arrays: key as in an .npz -> its array, of any shape and dtype.
    names: the same keys -> what they are called in the dataset.toml, for messages.
    files: the files in use, named from the folder.
    notes: sentences about files that decode and hold nothing.
    """

    arrays: dict[str, Array]
    names: dict[str, str]
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_folder(folder: Path) -> Content:
    """What the dataset.toml in a folder describes; UserError that names the file, what is allowed and the remedy.

    Nothing is read of files whose arrays together need more memory than a file may take.
    """
    described = read_mapping(folder / NAME)
    files = Files(folder, f"'{described.path}'")
    sources = dict(_sources(described))
    check_size(folder, files.memory(source for several in sources.values() for source in several))
    texts = {*described.columns, *(f"x_{m}" for m, one in described.inputs.items() if one.kind != "array")}
    read = {key: _joined(files, several, described.path, key in texts) for key, several in sources.items()}
    names = {key: ", ".join(map(str, several)) for key, several in sources.items()}
    arrays = dict(_with_lengths(described, read, names))
    if described.class_names:
        arrays["class_names"] = np.array(described.class_names)
    media, notes = _decode(folder, described, arrays)
    return Content(arrays, names, (NAME, *files.names, *media), notes)


def digest_of(folder: Path, content: Content) -> str:
    """SHA-256 over the bytes of all files in use and their names from the folder, wherever the folder is."""
    lines = [f"{digest(folder / name)} {name}" for name in sorted(set(content.files))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def named(error: UserError, content: Content) -> UserError:
    """The error about arrays with what each is called in the dataset.toml beside its key.

    >>> str(named(UserError("'x_a' is NaN."), Content({}, {"x_a": "all.csv:a"}, ())))
    "'x_a' (all.csv:a) is NaN."
    """
    text = str(error)
    for key, name in content.names.items():
        text = text.replace(f"'{key}'", f"'{key}' ({name})", 1)
    return UserError(text)


def _sources(described: Described) -> Iterator[tuple[str, tuple[Source, ...]]]:
    """Key as in an .npz -> where it is."""
    for m, one in described.inputs.items():
        yield f"x_{m}", one.sources
        yield from ((f"{key}_{m}", (source,)) for key, source in one.beside.items())
    yield "y", described.label
    yield from ((key, (source,)) for key, source in described.columns.items())


def _joined(files: Files, sources: tuple[Source, ...], path: Path, text: bool) -> Array | Padded:
    """The array of one source, or those of several columns side by side."""
    if len(sources) == 1:
        return files.read(sources[0], text)
    read = {source: files.read(source) for source in sources}
    columns = {source: one.array if isinstance(one, Padded) else one for source, one in read.items()}
    first = next(iter(columns.values()))
    for source, column in columns.items():
        if column.ndim == 1 and column.dtype.kind == "U":
            raise UserError(f"'{path}': '{source}' in a list of columns holds text: {_no_number(column)}.")
        if column.ndim != 1 or column.dtype.kind not in "biuf" or len(column) != len(first):
            raise UserError(
                f"'{path}': '{source}' in a list of columns has dtype {column.dtype} and shape {column.shape}; needed: "
                f"{len(first)} numbers, shape (N,). Make it a modality of its own, or leave it out."
            )
    return np.stack(list(columns.values()), 1)


def _no_number(texts: Array) -> str:
    """The first text that is not a number, and what to do. texts: (N,)."""
    row = next((row for row, text in enumerate(texts) if not _is_number(text)), None)
    if row is None:
        return f"numbers as texts, such as '{one_line(texts[0], MOST_NAMED)}'. Save the column as numbers"
    text = one_line(texts[row], MOST_NAMED)
    return f"'{text}' at row {row}. Write a number there, or leave the sample or the column out"


def _is_number(text: str) -> bool:
    if "_" in text:  # Python takes 1_000 for a number, and tables do not
        return False
    try:
        float(text or "nan")  # an empty cell is NaN
    except ValueError:
        return False
    return True


def _with_lengths(
    described: Described, read: dict[str, Array | Padded], names: dict[str, str]
) -> Iterator[tuple[str, Array]]:
    """The arrays by their keys; where the lists of a modality differ in length, `length_<modality>` too."""
    inputs = {f"x_{m}": (f"length_{m}", one) for m, one in described.inputs.items()}
    for key, value in read.items():
        if not isinstance(value, Padded):
            yield key, value
            continue
        length, one = inputs.get(key, ("", Input(())))
        if not length or length in read or one.kind != "array":
            only = "Their lengths are known: leave `length` out." if length in read else "Only an array modality may."
            raise UserError(f"'{described.path}': '{names[key]}' holds lists of several lengths. {only}")
        names[length] = f"the lengths of {names[key]}; a sample without may be absent by `present`"
        yield key, value.array
        yield length, value.lengths


def _decode(folder: Path, described: Described, arrays: dict[str, Array]) -> tuple[list[str], tuple[str, ...]]:
    """Put decoded files where the arrays have columns of paths; the files, named from the folder, and notes on them."""
    media = {m: one for m, one in described.inputs.items() if one.kind != "array"}
    paths = {m: _paths(folder, m, one, arrays) for m, one in media.items()}
    sizes = [len(paths[m]) * math.prod(shape_of(one.kind, one.settings)) for m, one in media.items()]
    check_size(folder, BYTES * sum(sizes))
    for m, one in media.items():
        decode = partial(decoded, paths[m], one.kind, one.settings, f"'{folder}': modality '{m}'")
        arrays[f"x_{m}"] = kept(paths[m], one.kind, one.settings, decode)
    used = [name_in(folder, path) for several in paths.values() for path in several if path is not None]
    notes = (blank_note(m, one.kind, arrays[f"x_{m}"], paths[m]) for m, one in media.items())
    return used, tuple(filter(None, notes))


def _paths(folder: Path, modality: str, one: Input, arrays: dict[str, Array]) -> list[Path | None]:
    (source,) = one.sources
    names, present = arrays[f"x_{modality}"], arrays.get(f"present_{modality}")
    where = f"'{folder / source.file}'" + (f": '{source.key}'" if source.key else "")
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise UserError(f"{where} holds {names.dtype}; needed: texts, the path of one {one.kind} file per sample.")
    if present is not None and present.shape != names.shape:
        raise UserError(f"{where} has {len(names)} rows, but its `present` has shape {present.shape}. Give one each.")
    return paths_of(folder, as_text(names).tolist(), present, where)
