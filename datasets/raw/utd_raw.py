"""The raw folder of UTD-MHAD: which clips are there, and how a .mat file becomes a sample of fixed size."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.formats.npz import POINTER, digest
from mcr_bench.datasets.raw.raw_files import MediaFiles

LAYOUT = (
    "SOURCE/\n"
    "  Inertial/aA_sS_tT_inertial.mat   d_iner (T, 6): accelerometer, gyroscope\n"
    "  Skeleton/aA_sS_tT_skeleton.mat   d_skel (20, 3, T): joint positions\n"
    "  Depth/aA_sS_tT_depth.mat         optional, d_depth (H, W, T): millimetres\n"
    "with action A = 1..27, subject S = 1..8, trial T = 1..4"
)
ACTIONS = (
    *("swipe left", "swipe right", "wave", "clap", "throw", "arm cross", "basketball shoot", "draw x"),
    *("draw circle clockwise", "draw circle counter-clockwise", "draw triangle", "bowling", "boxing", "baseball swing"),
    *("tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pick up and throw", "jog", "walk"),
    *("sit to stand", "stand to sit", "lunge", "squat"),
)
SUBJECTS = tuple(range(1, 9))
HIP = 3  # row of hip_center in the joint order that comes with the data
RECIPE = (
    "utd-mhad 1: linear resampling over time to 64 steps (depth 16); skeleton minus the hip centre of the same frame; "
    "depth in metres, mean over 24 x 32 areas, pixels without a reading count as 0"
)
KEYS = {"inertial": "d_iner", "skeleton": "d_skel", "depth": "d_depth"}


@dataclass
class Source:
    """The raw folder. clips: clip id -> modality -> file; problems: (file or clip, reason) of all that is left out."""

    modalities: tuple[str, ...]
    clips: dict[str, dict[str, Path]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def scan(source: Path) -> Source:
    """Which clips are there; UserError where the folder is not UTD-MHAD."""
    folders = {p.name.lower(): p for p in sorted(source.iterdir()) if p.is_dir()} if source.is_dir() else {}
    media = {m: MediaFiles(".mat", (".mat",)) for m in KEYS if m in folders}
    present = {m: files.files(folders[m]) for m, files in media.items()}
    modalities = tuple(m for m in KEYS if present.get(m))
    if modalities[:2] != ("inertial", "skeleton"):
        raise UserError(f"'{source}' is not a UTD-MHAD folder. Expected:\n{LAYOUT}")
    found = Source(modalities)
    found.problems += [note for m in modalities for note in media[m].notes(folders[m].name, ())]
    for m in modalities:
        for path in present[m]:
            _file_away(found, m, path)
    for clip, files in list(found.clips.items()):
        missing = [m for m in modalities if m not in files]
        if missing:
            found.problems.append((clip, f"no usable {' and no usable '.join(missing)} file"))
            del found.clips[clip]
    found.clips = dict(sorted(found.clips.items()))
    return found


def short_name(path: Path) -> str:
    """Folder and file, as in reports and in the manifest."""
    return f"{path.parent.name}/{path.name}"


def checksum(path: Path) -> str:
    """SHA-256 of a raw file; empty where it cannot be read, which `as_arrays` reports."""
    try:
        return digest(path)
    except OSError:
        return ""


def _file_away(found: Source, modality: str, path: Path) -> None:
    """Under its clip, or among the problems."""
    match = re.fullmatch(rf"a(\d+)_s(\d+)_t(\d+)_{modality}\.mat", path.name.lower())
    name = short_name(path)
    if not match or not 1 <= int(match[1]) <= len(ACTIONS) or int(match[2]) not in SUBJECTS:
        found.problems.append((name, f"not named aA_sS_tT_{modality}.mat with A = 1..27, S = 1..8"))
        return
    clip = found.clips.setdefault("a{}_s{}_t{}".format(*map(int, match.groups())), {})
    if modality in clip:
        found.problems.append((name, f"the same clip as {clip[modality].name}"))
    else:
        clip[modality] = path


def as_arrays(found: Source, source: Path, progress: Callable[[int, int], None]) -> dict[str, Array]:
    """Every readable clip in array form, as `arrays` reads it; UserError if there is none."""
    rows: dict[str, list[Array]] = {}
    for at, (clip, files) in enumerate(found.clips.items()):
        progress(at, len(found.clips))
        try:
            rows[clip] = [RECIPES[m](_read(files[m], KEYS[m])) for m in found.modalities]
        except _Unusable as error:
            found.problems.append(error.args)
    progress(len(found.clips), len(found.clips))
    if not rows:
        first = "; ".join(f"{name}: {reason}" for name, reason in found.problems[:3])
        raise UserError(f"'{source}' has no usable clip ({first}). Nothing was written. Expected:\n{LAYOUT}")
    numbers = np.array([[int(n) for n in re.findall(r"\d+", clip)] for clip in rows])
    parts = {1: "train", 3: "train", 5: "train", 7: "val"}
    return {
        **{f"x_{m}": np.stack([row[i] for row in rows.values()]) for i, m in enumerate(found.modalities)},
        "y": numbers[:, 0] - 1,
        "split": np.array([parts.get(s, "test") for s in numbers[:, 1]]),
        "group": numbers[:, 1],
        "id": np.array(list(rows)),
        "class_names": np.array(ACTIONS),
    }


class _Unusable(Exception):
    """(file, reason)"""


def _read(path: Path, key: str) -> Array:
    """One variable of a .mat file with time as the last axis but for inertial; _Unusable with the reason."""
    from scipy.io import loadmat

    name = short_name(path)
    try:
        content = path.read_bytes()
        if content.startswith(POINTER):
            raise _Unusable(name, "a git-LFS pointer, not the data: run `git lfs pull` where it comes from")
        array = loadmat(BytesIO(content), variable_names=[key])[key]
    except _Unusable:
        raise
    except KeyError:
        raise _Unusable(name, f"holds no '{key}'") from None
    except Exception as error:  # a damaged file fails in any of a dozen ways inside the reader
        raise _Unusable(name, f"unreadable or truncated ({type(error).__name__}: {error})") from error
    shape = {"d_iner": (None, 6), "d_skel": (20, 3, None), "d_depth": (None, None, None)}[key]
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in "iuf" or not fits or min(array.shape[0], array.shape[-1]) < 2:
        raise _Unusable(
            name, f"'{key}' is {array.dtype} {array.shape}, expected numbers {shape} over at least 2 frames"
        )
    if not np.isfinite(array).all():
        raise _Unusable(name, "NaN or infinite values")
    samples: Array = array.astype(np.float64)
    return samples


def _inertial(x: Array) -> Array:
    """(T, 6) -> (64, 6)"""
    return resample(x, 64)


def _skeleton(x: Array) -> Array:
    """(20, 3, T) -> (64, 60), joints before coordinates"""
    frames = x.transpose(2, 0, 1)
    return resample((frames - frames[:, HIP : HIP + 1]).reshape(len(frames), 60), 64)


def _depth(x: Array) -> Array:
    """(H, W, T) -> (16, 24, 32)"""
    return resample(_area(_area(x.transpose(2, 0, 1) / 1000, 24, 1), 32, 2), 16)


def _area(x: Array, size: int, axis: int) -> Array:
    """Means over `size` areas of nearly equal width along an axis."""
    edges = np.linspace(0, x.shape[axis], size + 1).round().astype(int)
    return np.stack([x.take(range(a, max(b, a + 1)), axis).mean(axis) for a, b in pairwise(edges)], axis)


def resample(x: Array, steps: int) -> Array:
    """(T, ...) -> (steps, ...) float32 by linear interpolation; first and last frame stay."""
    at = np.linspace(0, len(x) - 1, steps)
    left = np.minimum(at.astype(int), len(x) - 2)
    weight = (at - left).reshape(-1, *[1] * (x.ndim - 1))
    between: Array = x[left] * (1 - weight) + x[left + 1] * weight
    return between.astype(np.float32)


RECIPES: dict[str, Callable[[Array], Array]] = {"inertial": _inertial, "skeleton": _skeleton, "depth": _depth}
