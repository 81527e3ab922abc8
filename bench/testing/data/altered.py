"""A copy of a dataset's files in which one sample was changed: what then happens to what is loaded?"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.testing.data.case import DataCase

LARGEST = 50_000_000  # bytes: more are not copied for a check
TEXT = (".csv", ".jsonl", ".tsv", ".txt")
NUMBER = re.compile(r"-?\d+\.\d+")


@contextmanager
def copied(case: DataCase) -> Iterator[DataCase | None]:
    """Inside the block the dataset with a copy of its files; None where it reads none, or too many."""
    data = case.made()
    source, is_file = data.location, bool(data.suffixes)
    if not source.exists() or size_of(source) > LARGEST:
        yield None
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        if source.is_dir():
            shutil.copytree(source, copy, copy_function=shutil.copy)  # with the time of now
        else:
            shutil.copy(source, copy)
        yield replace(case, name=str(copy) if is_file else case.name, data_root=Path(folder), kept={})


def size_of(place: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(path.stat().st_size for path in files_of(place))


def files_of(place: Path) -> list[Path]:
    """A file, or all files in a folder, in a fixed order."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def changes_of(case: DataCase, most: int) -> Iterator[str]:
    """Change one sample at a time of the files of a copied dataset; the change is in the file until the next one.

    Gives what was changed, in words, at most so many times. Files of arrays (.npy, .npz) and tables of text are
    changed, others are not: in a random order one sample of each file, the last, then another one of each, and so on.
    """
    known = [path for path in files_of(case.made().location) if path.suffix in (".npy", ".npz", *TEXT)]
    order = torch.randperm(len(known), generator=generator(0, "data", "altered files")).tolist()
    for path, row in islice(_in_turn([known[place] for place in order]), most):
        before = path.read_bytes()
        if _change(path, row):
            yield f"sample {row} of {path.name}"
        path.unlink()  # what has mapped the file into memory keeps what it has read
        path.write_bytes(before)


def _in_turn(files: list[Path]) -> Iterator[tuple[Path, int]]:
    """(file, sample): the first one of each file, the second one of each, and so on."""
    rows = {}
    for path in files:
        rows[path] = _rows(_count(path), path.name)
        yield from ((path, row) for row in rows[path][:1])
    for place in range(1, max(map(len, rows.values()), default=0)):
        yield from ((path, own[place]) for path, own in rows.items() if place < len(own))


def _rows(count: int, name: str) -> list[int]:
    """The last of so many samples, which often is of the test part, and all others in an order of the name's own."""
    order = torch.randperm(count, generator=generator(0, "data", "altered", name)).tolist()
    return sorted(order, key=lambda row: row != count - 1)


def _count(path: Path) -> int:
    """The number of samples of a file; 0 if it has none that can be changed."""
    if path.suffix in TEXT:
        return len(_lines(path))
    held = _arrays(path)
    return len(held[_inputs(held)[0]]) if _inputs(held) else 0


def _change(path: Path, row: int) -> bool:
    """Change the numbers of one sample; whether there were any."""
    if path.suffix in TEXT:
        return _change_line(path, row)
    held = _arrays(path)
    for name in _inputs(held):
        if row < len(held[name]):
            held[name] = held[name].copy()
            held[name][row] = 3 * held[name][row] + 7
    path.unlink()
    if path.suffix == ".npy":
        np.save(path, held[""])
    else:
        np.savez(path, **held)  # type: ignore[arg-type]
    return True


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file by name; none of one that needs code to be read, or is not what its name says."""
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return {"": opened} if path.suffix == ".npy" else {}
        with opened:
            return {} if path.suffix == ".npy" else dict(opened)
    except (OSError, ValueError):
        return {}


def _inputs(held: dict[str, Array]) -> list[str]:
    """The arrays that hold samples: floating-point numbers with more than one axis."""
    return [name for name, array in held.items() if array.ndim > 1 and array.dtype.kind == "f" and len(array)]


def _lines(path: Path) -> list[int]:
    """The numbers of the lines that hold numbers with a decimal point."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return [number for number, line in enumerate(lines) if NUMBER.search(line)]


def _change_line(path: Path, row: int) -> bool:
    lines, number = path.read_text(encoding="utf-8").splitlines(), _lines(path)[row]
    lines[number] = NUMBER.sub(lambda match: f"{3 * float(match[0]) + 7:.6f}", lines[number])
    path.unlink()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True
