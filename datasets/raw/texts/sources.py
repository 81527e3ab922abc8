"""The text of a pair: a file of its own, or an entry of a list of JSON lines or CSV; features of a text as a file."""

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError, quoted
from mcr_bench.datasets.cache.recipe import Clip
from mcr_bench.datasets.formats.opened import opened_once
from mcr_bench.datasets.media.reasons import AGAIN, Unusable, report
from mcr_bench.datasets.raw.lists import numbered_lines, read_content, read_lists

LIST, OWN, FEATURES, PICTURE = "list", "text", "features", "image"  # roles of a pair's files
LISTS = {"train.jsonl": "train", "dev.jsonl": "val", "test.jsonl": "test"}  # list -> its part
PUBLISHED = "Use the list as it was published."
WIDE = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
LARGEST = 2**24  # bytes of a text of its own: a page has some hundred thousand


def require_all_lists(source: Path, given: Collection[str]) -> None:
    """UserError that names the missing ones if some of the three `LISTS` are given, but not all."""
    missing = [name for name in LISTS if name not in given]
    if missing and len(missing) < len(LISTS):
        raise UserError(
            f"'{source}' has no {' and no '.join(missing)} beside the other lists. Add it, or take them out."
        )


def text_of(clip: Clip) -> str:
    """The text of a pair; `Unusable` if it cannot be read."""
    if OWN in clip.files:
        return own_text(clip.files[OWN])
    texts = listed_texts(clip.files[LIST])
    if clip.id not in texts:
        raise Unusable(f"{clip.files[LIST].name} has no text of {clip.id}.")
    return texts[clip.id]


def readable_text(clip: Clip) -> str:
    """The text of a pair; '' where it has none, and for one that cannot be read, which decoding reports."""
    try:
        return text_of(clip) if clip.files.keys() & {OWN, LIST} else ""
    except (Unusable, OSError):
        return ""


def ids_by_list(parts: Mapping[str, str]) -> dict[str, list[str]]:
    """List -> the ids in it. parts: id -> part, of all three `LISTS`."""
    return {name: [id_ for id_, at in parts.items() if at == part] for name, part in LISTS.items()}


def own_text(path: Path) -> str:
    """The text in a file; `Unusable` for another file. One that is not UTF-8 is read as Latin-1, a finding."""
    if path.stat().st_size > LARGEST:
        raise Unusable(f"{path.name}: {path.stat().st_size:,} bytes are too many for a text. {AGAIN}")
    try:
        content = read_content(path)
    except UserError as error:
        raise Unusable(f"{path.name}: {error}") from error
    for mark, name in WIDE.items():
        if content.startswith(mark):
            raise Unusable(f"{path.name}: is encoded in {name}. Save it as UTF-8.")
    if b"\0" in content:
        raise Unusable(f"{path.name}: is not a text: it holds bytes of 0. {AGAIN}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        report(f"{path.name} is not UTF-8 and is read as Latin-1")
        return content.decode("latin-1")


@opened_once
def listed_texts(path: Path) -> dict[str, str]:
    """Id -> text of a list; UserError as of `rows_of` and `titles_of`."""
    content = read_lists({path.name: path})[path.name]
    if path.suffix.lower() == ".csv":
        return {Path(picture).stem: text for picture, text, _ in titles_of(path.name, content)}
    return {str(row["id"]): str(row["text"]) for _, row in rows_of(path.name, content, ("id", "text"))}


def rows_of(name: str, content: bytes, keys: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """(number of the line, row) of a list of JSON lines; UserError that names the line without one of the `keys`.

    name: the name of the list, for messages.
    """
    for number, line in numbered_lines(content):
        try:
            row = json_of(line)
        except ValueError as error:
            raise UserError(f"{name}, line {number}: is not JSON ({quoted(error)}). {PUBLISHED}") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str | int) for key in keys):
            raise UserError(f"{name}, line {number}: '{line[:80]}' does not have {', '.join(keys)}. {PUBLISHED}")
        yield number, row


def titles_of(name: str, content: bytes) -> Iterator[tuple[str, str, str]]:
    """(picture, title, class) of a list without header; commas inside a title may be quoted or not.

    >>> list(titles_of("x.csv", b'a_1.jpg,"One, two",a'))
    [('a_1.jpg', 'One, two', 'a')]
    """
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    try:
        for cells in lines:
            if len(cells) in (1, 2):
                raise UserError(
                    f"{name}, line {lines.line_num}: '{','.join(cells)[:80]}' is not picture,title,class. {PUBLISHED}"
                )
            if cells:
                yield cells[0].strip(), ",".join(cells[1:-1]), cells[-1].strip()
    except csv.Error as error:
        raise UserError(f"{name}, line {lines.line_num}: is not CSV ({quoted(error)}). {PUBLISHED}") from error


def features_of(path: Path, steps: int, channels: int) -> Array:
    """The first steps (T, C) float16 of the features in a .npy file, (T, C) or (C,); `Unusable` for others."""
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Unusable(f"{path.name}: cannot be read as .npy of numbers ({error}). {AGAIN}") from error
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf" or x.ndim not in (1, 2) or x.shape[-1] != channels:
        shape = getattr(x, "shape", "several arrays")
        raise Unusable(
            f"{path.name}: has shape {shape}; needed: numbers ({channels},) or (steps, {channels}). Another width is "
            "stated by dataset.text_channels."
        )
    with np.errstate(over="ignore"):
        return np.atleast_2d(x)[:steps].astype(np.float16)
