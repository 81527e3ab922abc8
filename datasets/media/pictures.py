"""Frames that were extracted into a folder of pictures beforehand: read by time, as frames of a video are."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import multimode

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.formats.npz import digest
from mcr_bench.datasets.media.decode import require_room_for_picture
from mcr_bench.datasets.media.endings import is_cut
from mcr_bench.datasets.media.findings import report_pictures
from mcr_bench.datasets.media.reasons import AGAIN, Unusable

PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
EARLY = 1e-6  # seconds, for the rounding of times
NUMBER = re.compile(r"\d+")


def pictures_of(folder: Path) -> list[Path]:
    """The pictures in a folder, in the order of the last number in their names; hidden files are left out.

    Where the last numbers repeat, as of `SECOND_NUMBER`, all numbers give the order, from the first one on.
    """
    files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")]
    if len({_place(path)[0] for path in files}) == len(files):
        return sorted(files, key=_place)
    return sorted(files, key=lambda path: ([int(text) for text in NUMBER.findall(path.stem)], path.name))


def _in_order(folder: Path, rate: int = 0) -> list[Path]:
    """The pictures of a folder; `Unusable` if their numbers show that one is missing, or is there twice.

    Each later picture would be shown at the time of another one. Numbers may begin anywhere and grow by any step, and
    with `rate` pictures per second the step after each second may be longer: scripts that keep every third of 25 frames
    begin anew there. Names that do not count, such as a, b, c, or times, are taken as they are.
    """
    files = pictures_of(folder)
    _require_one_each(folder, files)
    numbers = [_place(path)[0] for path in files]
    steps = [later - number for number, later in pairwise(numbers)]
    if 0 in steps or len(steps) < 2:
        return files
    usual = min(multimode(steps))
    for at, step in enumerate(steps, 1):
        if step >= 2 * usual and not (rate > 1 and at % rate == 0):
            raise Unusable(
                f"{folder.name}: a picture is missing after '{files[at - 1].name}', so that later ones would be shown "
                f"at wrong times. {AGAIN}"
            )
    return files


def _require_one_each(folder: Path, files: Sequence[Path]) -> None:
    """`Unusable` for two pictures with the same numbers in their names, and for one without any beside others."""
    seen: dict[tuple[str, ...], Path] = {}
    for path in files:
        texts = tuple(text.lstrip("0") for text in NUMBER.findall(path.stem))
        one = seen.setdefault((*texts, NUMBER.sub("", path.stem)), path)
        if one is not path:
            raise Unusable(
                f"{folder.name}: has one picture twice, as '{one.name}' and as '{path.name}'. Delete one of them."
            )
    without = [path for path in files if not NUMBER.search(path.stem)]
    if without and len(without) < len(files):
        raise Unusable(
            f"{folder.name}: '{without[0].name}' has no number in its name, and other pictures have. Delete it, or "
            "number it."
        )


def _place(path: Path) -> tuple[int, str]:
    """The last number in a name: extraction scripts count frames there, with or without leading zeros.

    >>> _place(Path("frame_3_75.jpg")) < _place(Path("00100.jpg"))
    True
    """
    numbers = NUMBER.findall(path.stem)
    return (int(numbers[-1]) if numbers else -1, path.name)


def read_pictures(folder: Path, times: Sequence[float], rate: float, pad: bool = False) -> Array:
    """The frame on screen at each of F `times`, as (F, H, W, 3) uint8 RGB; picture n is shown from n / rate seconds on.

    rate: pictures per second. pad: whether the last picture is used for times after it, which are `Unusable` otherwise.
    `Unusable` also for a folder without pictures, in which one is missing, or with pictures that cannot be read or
    differ in size.
    """
    return read_numbers(folder, [int(time * rate + EARLY) for time in times], pad, rate=round(rate))


def read_numbers(folder: Path, numbers: Sequence[int], pad: bool = False, grey: bool = False, rate: int = 0) -> Array:
    """The pictures with these numbers from 0, as (F, H, W, 3) uint8 RGB, or (F, H, W) uint8 if `grey`.

    pad: whether the last picture is used for numbers after it, which are `Unusable` otherwise. rate: how many pictures
    a second has, if that is known.
    """
    files = _in_order(folder, rate)
    if not files:
        raise Unusable(f"{folder.name}: the folder has no picture. {AGAIN}")
    if not pad and max(numbers) >= len(files):
        raise Unusable(f"{folder.name}: has {len(files)} pictures; number {max(numbers) + 1} is needed.")
    at = [min(number, len(files) - 1) for number in numbers]
    pictures = {number: _picture(files[number], grey) for number in sorted(set(at))}
    sizes = {picture.shape[:2] for picture in pictures.values()}
    if len(sizes) > 1:
        raise Unusable(f"{folder.name}: its pictures differ in size: {' and '.join(map(size_text, sorted(sizes)))}.")
    if not grey:
        report_pictures(list(pictures.values()))
    return np.stack([pictures[number] for number in at])


def read_picture(path: Path) -> Array:
    """One picture of a user's, upright as its EXIF data say, as (H, W, 3) uint8 RGB; its size is asked first.

    `Unusable` for a file that is not a picture, that ends too early, or that needs too much memory.
    """
    require_room_for_picture(path)
    content = _content(path)
    if is_cut(content):
        raise Unusable(f"{_short(path)}: is truncated. {AGAIN}")
    return _decoded(path, content, grey=False)


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a picture; `Unusable` if it cannot be read."""
    height, width = _picture(path, grey=False).shape[:2]
    return height, width


def size_text(size: tuple[int, int]) -> str:
    """Height and width as people write them.

    >>> size_text((360, 480))
    '480 x 360'
    """
    return f"{size[1]} x {size[0]}"


def checksum_of(folder: Path) -> tuple[int, str]:
    """The size of all pictures in a folder together, and a SHA-256 of their names and contents."""
    files = pictures_of(folder)
    named = "".join(f"{path.name} {digest(path)}\n" for path in files)
    return sum(path.stat().st_size for path in files), hashlib.sha256(named.encode()).hexdigest()


def _picture(path: Path, grey: bool) -> Array:
    return _decoded(path, _content(path), grey)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{_short(path)}: cannot be read ({error.strerror}). {AGAIN}") from error


def _short(path: Path) -> str:
    return str(Path(path.parent.name) / path.name)


def _decoded(path: Path, content: bytes, grey: bool) -> Array:
    import cv2

    flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    if picture is None:
        raise Unusable(f"{_short(path)}: is not a picture that can be read. {AGAIN}")
    return np.asarray(picture if grey else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
