"""Columns of paths -> arrays of decoded images, frames and sound; what cannot be used is an error, by its row."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.contents.words import rows_in_words
from mcr_bench.datasets.folders.sources import inside
from mcr_bench.datasets.media.decode import Unusable, fit, frame_count, read_audio, read_numbered
from mcr_bench.datasets.media.pictures import read_picture
from mcr_bench.datasets.media.spectrogram import log_magnitude, tile

Settings = Mapping[str, float]
ALIKE = 2, 1e-3  # of 255, and of the logarithm of a magnitude: up to it all values of a file count as one
COLOURS, BINS, HOP, BYTES = 3, 257, 353, 4  # channels of a picture; rows and step of a spectrogram; of a float32


def _image(path: Path, settings: Settings) -> Array:
    square: Array = fit(read_picture(path)[None], int(settings["size"]))[0]
    return square


def _video(path: Path, settings: Settings) -> Array:
    count, wanted = frame_count(path), int(settings["frames"])
    return fit(read_numbered(path, [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]), int(settings["size"]))


def _sound(path: Path, settings: Settings) -> Array:
    wave = read_audio(path, int(settings["rate"]), seconds=settings["seconds"])
    return log_magnitude(tile(wave, _samples(settings)), hop=HOP)[None]


def _samples(settings: Settings) -> int:
    return round(settings["rate"] * settings["seconds"])


# Kind -> the function that decodes one file into an array of the shape that `shape_of` states.
DECODERS: dict[str, Callable[[Path, Settings], Array]] = {"image": _image, "video": _video, "sound": _sound}


def shape_of(kind: str, settings: Settings) -> tuple[int, ...]:
    """The shape of one decoded file.

    An image is (3, H, W), squeezed to a square; a video (frames, 3, H, W), frames at even distances; sound the
    logarithm of a magnitude spectrogram, (1, 257, T), of its first seconds, repeated where it is shorter.
    """
    size = int(settings.get("size", 0))
    if kind == "sound":
        return 1, BINS, 1 + _samples(settings) // HOP
    return (COLOURS, size, size) if kind == "image" else (int(settings["frames"]), COLOURS, size, size)


def paths_of(folder: Path, names: Sequence[str], present: Array | None, where: str) -> list[Path | None]:
    """The files of a column; None for samples that lack the modality. UserError for the first name that is wrong.

    present: (N,) whether a sample has the modality; None if all have it. where: the file and column, for messages.
    """
    paths: list[Path | None] = []
    for row, name in enumerate(names):
        has = present is None or bool(present[row])
        if has and not name:
            raise UserError(
                f"{where} is empty at row {row}. Name a file, leave the sample out, or state `present` in dataset.toml."
            )
        paths.append(inside(folder, name, f"{where}, row {row}") if has else None)
    return paths


def blank_note(modality: str, kind: str, rows: Array, paths: Sequence[Path | None]) -> str:
    """A sentence on files whose decoded array (N, ...) is one number throughout, as of silence; "" for none."""
    flat = rows.reshape(len(rows), -1)
    has = np.array([path is not None for path in paths])
    blank = has & (np.ptp(flat, axis=1) <= ALIKE[kind == "sound"])
    if not blank.any():
        return ""
    what = "silent in the part that is used" if kind == "sound" else "of one colour"
    told = f"{blank.sum()} of its {has.sum()} files {'is' if blank.sum() == 1 else 'are'} {what}"
    return f"{modality}: {told}: {rows_in_words(blank)}"


def decoded(paths: Sequence[Path | None], kind: str, settings: Settings, where: str) -> Array:
    """(N, ...) of the files of a column, zeros for None; UserError by row for a file that cannot be used."""
    shape = shape_of(kind, settings)
    rows = np.zeros((len(paths), *shape), np.float32 if kind == "sound" else np.uint8)
    for row, path in enumerate(paths):
        if path is None:
            continue
        try:
            rows[row] = DECODERS[kind](path, settings)
        except Unusable as error:
            raise UserError(f"{where}, row {row}: {error} Or leave the sample out of the table.") from error
    return rows
