"""The file of MM-IMDb, multimodal_imdb.hdf5: features of plots and posters, and the genres of each film."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.texts import json_of
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan, Settings
from mcr_bench.datasets.formats.hdf5 import check_stored
from mcr_bench.datasets.formats.npz import is_pointer, pointer_error
from mcr_bench.datasets.formats.opened import opened_once
from mcr_bench.datasets.media.decode import Unusable
from mcr_bench.datasets.sequences.pickles import LIST, listed

if TYPE_CHECKING:
    import h5py

FILE = "multimodal_imdb.hdf5"
LABELS = "labels"
GENRES = (
    *("Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery"),
    *("Sci-Fi", "Fantasy", "Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western"),
    *("Sport", "Short", "Film-Noir"),
)
COUNTS = {"train": 15_552, "val": 2_608, "test": 7_799}  # the parts follow each other in the file
PARTS = {"train": "train", "dev": "val", "valid": "val", "val": "val", "test": "test"}
TEXT = "features"
KEYS = {"vgg": "vgg_features", "poster": "images"}
LAYOUT = (
    f"SOURCE/\n  {FILE}   features (N, 300), vgg_features (N, 4096), images (N, 3, 256, 160), genres (N, 23),\n"
    "                         imdb_ids (N,)"
)
AGAIN = "Copy it again from its publisher."


@dataclass(frozen=True)
class Films:
    """An open file of N films.

    path: the file.
    arrays: key -> array on disk, (N, ...).
    row: id -> the row of the film, the first if the file has it twice.
    order: (23,) the column of each of `GENRES`.
    parts: (N,) text, the part of each row.
    """

    path: Path
    arrays: "Mapping[str, h5py.Dataset]"
    row: Mapping[str, int]
    order: Array
    parts: Array


@opened_once
def open_films(path: Path) -> Films:
    """The films of a file; UserError that names the file, the array and the remedy if it is not the official one."""
    import h5py

    try:
        if is_pointer(path):
            raise pointer_error(path)
        file = h5py.File(path, "r")
        arrays = {key: _array(path, file, key) for key in (TEXT, *KEYS.values(), "genres", "imdb_ids") if key in file}
        for key in (TEXT, "genres", "imdb_ids"):
            if key not in arrays:
                raise UserError(f"'{path}' has no '{key}' (it has {', '.join(file)}). Expected:\n{LAYOUT}")
        ids = [_text(x) for x in arrays["imdb_ids"][()].tolist()]
        return Films(
            path, arrays, _rows(path, arrays, ids), _order(path, arrays["genres"]), _parts(path, file, len(ids))
        )
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(f"'{path}' is not an HDF5 file, or it is truncated ({error}). {AGAIN}") from error


def scan(source: Path, shapes: Mapping[str, tuple[int, ...]]) -> Scan:
    """The films of the folder in the order of ids. shapes: key -> the expected shape of a row."""
    path = source / FILE
    if not path.is_file():
        raise UserError(f"'{source}' has no '{FILE}'. Expected:\n{LAYOUT}")
    films = open_films(path)
    for key, shape in shapes.items():
        if key not in films.arrays:
            raise UserError(f"'{path}' has no '{key}'. Expected:\n{LAYOUT}")
        if films.arrays[key].shape[1:] != shape:
            raise UserError(f"'{path}': '{key}' has shape {films.arrays[key].shape}; needed: (N, *{shape}). {AGAIN}")
    genres = films.arrays["genres"][()]
    if not np.isin(genres, (0, 1)).all():
        raise UserError(f"'{path}': 'genres' holds other values than 0 and 1. {AGAIN}")
    clips = [Clip(id_, int(genres[row].sum()), id_, {"hdf5": path}) for id_, row in films.row.items()]
    scan = Scan(sorted(clips, key=lambda clip: clip.id))
    twice = len(films.parts) - len(films.row)
    scan.problems += [(FILE, f"{twice} rows have the id of an earlier row")] if twice else []
    scan.lists[LIST] = listed({id_: str(films.parts[row]) for id_, row in films.row.items()})
    return scan


def recipe(image: str, shapes: Mapping[str, tuple[int, ...]]) -> Recipe:
    """Text and image as the file has them, and the genres. image: vgg or poster. shapes: as of `scan`."""
    fields = {
        "text": Field(shapes[TEXT], "float32"),
        "image": Field(shapes[KEYS[image]], "float32" if image == "vgg" else "int16"),
        LABELS: Field((len(GENRES),), "uint8"),
    }
    return Recipe("films", {"version": 1, "image": image}, fields, decode, ("h5py", "numpy"))


def decode(clip: Clip, settings: Settings) -> dict[str, Array]:
    """`text`, `image` and `labels` of one film; `Unusable` with the reason."""
    films = open_films(clip.files["hdf5"])
    row, image = films.row[clip.id], str(settings["image"])
    try:
        text, seen, genres = (np.asarray(films.arrays[key][row]) for key in (TEXT, KEYS[image], "genres"))
    except (OSError, RuntimeError) as error:
        raise Unusable(f"its row {row} cannot be read ({error}): the file is damaged") from error
    if image == "poster" and not _are_colours(seen):
        raise Unusable("its poster has values that are not those of colours, whole numbers such as 0 to 255")
    with np.errstate(over="ignore"):
        made = {"text": text.astype(np.float32), "image": seen.astype(np.float32 if image == "vgg" else np.int16)}
    return {**made, LABELS: genres[films.order].astype(np.uint8)}


def _are_colours(values: Array) -> bool:
    """Whether int16 holds all of them without a change."""
    return bool((np.isfinite(values) & (abs(values) <= np.iinfo(np.int16).max) & (values == np.rint(values))).all())


def _array(path: Path, file: "h5py.File", key: str) -> "h5py.Dataset":
    """An array of the file itself; UserError for a link, which may lead to any file of the machine."""
    import h5py

    x = file[key] if isinstance(file.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(x, h5py.Dataset) or x.external or x.is_virtual:
        raise UserError(f"'{path}': '{key}' is a link, a group or stored in another file. Use the official file.")
    kind = "SO" if key == "imdb_ids" else "iuf"
    if x.dtype.kind not in kind or not x.ndim or (key == "imdb_ids" and x.ndim > 1):
        raise UserError(f"'{path}': '{key}' is {x.dtype} {x.shape}. Expected:\n{LAYOUT}")
    check_stored(path, x, whole=key in ("imdb_ids", "genres"))
    return x


def _rows(path: Path, arrays: "Mapping[str, h5py.Dataset]", ids: list[str]) -> dict[str, int]:
    """Id -> row; UserError unless all arrays have as many rows as there are ids."""
    counts = {key: len(x) for key, x in arrays.items()}
    if not ids or len(set(counts.values())) > 1:
        raise UserError(f"'{path}' has different numbers of films, or none: {counts}. {AGAIN}")
    return {id_: row for row, id_ in reversed([*enumerate(ids)])}


def _order(path: Path, genres: "h5py.Dataset") -> Array:
    """The column of each genre, by the names that the file gives its columns; in the official order without names."""
    given = genres.attrs.get("target_names")
    try:
        names = list(GENRES) if given is None else [str(name) for name in json_of(_text(given))]
    except (ValueError, TypeError) as error:
        raise UserError(f"'{path}': the names of the genres cannot be read ({error}). {AGAIN}") from error
    if sorted(names) != sorted(GENRES) or genres.shape[1:] != (len(GENRES),):
        raise UserError(
            f"'{path}' has {genres.shape[1:]} genres with the names {', '.join(names)[:200]}; needed: the 23 of "
            f"MM-IMDb, {', '.join(GENRES)}. Use the official file."
        )
    return np.array([names.index(genre) for genre in GENRES])


def _parts(path: Path, file: "h5py.File", count: int) -> Array:
    """(N,) text: the parts that the file states for `genres`, or else those of the official numbers."""
    parts = np.full(count, "", "<U5")
    stated = file.attrs.get("split")
    if stated is not None and {"split", "source", "start", "stop"} <= set(stated.dtype.names or ()):
        for row in stated:
            if _text(row["source"]) == "genres" and _text(row["split"]) in PARTS:
                parts[int(row["start"]) : int(row["stop"])] = PARTS[_text(row["split"])]
    elif count == sum(COUNTS.values()):
        parts[:] = np.repeat(list(COUNTS), list(COUNTS.values()))
    if not (parts != "").all():
        raise UserError(
            f"'{path}' does not say which of its {count:,} films are for training, validation and test, and is not the "
            f"whole set of {sum(COUNTS.values()):,}, whose order does. Use the official file."
        )
    return parts


def _text(x: object) -> str:
    return x.decode(errors="replace") if isinstance(x, bytes) else str(x)
