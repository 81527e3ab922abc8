"""The raw folder of UTD-MHAD: its clips, and how a .mat file becomes a sample of fixed size."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.core.inputs.sizes import excess
from mcr_bench.bench.errors import UserError
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.formats.npz import POINTER
from mcr_bench.datasets.media.reasons import Unusable
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
HIP = 3  # row of hip_center in the order of joints that is published with the data
# Part of the manifest: another text makes the prepared file anew.
RECIPE = (
    "utd-mhad 1: linear resampling over time to 64 steps (depth 16); skeleton minus the hip centre of the same frame; "
    "depth in metres, mean over 24 x 32 areas, pixels without a reading count as 0"
)
KEYS = {"inertial": "d_iner", "skeleton": "d_skel", "depth": "d_depth"}


SHAPES = {
    "inertial": Field((64, 6), "float32"),
    "skeleton": Field((64, 60), "float32"),
    "depth": Field((16, 24, 32), "float32"),
}
Files = dict[str, dict[str, Path]]  # clip -> modality -> file


def scan(source: Path) -> tuple[tuple[str, ...], Scan]:
    """The available modalities, and the clips with a file of each; UserError if the folder is not UTD-MHAD's."""
    folders = {p.name.lower(): p for p in sorted(source.iterdir()) if p.is_dir()} if source.is_dir() else {}
    media = {m: MediaFiles(".mat", (".mat",)) for m in KEYS if m in folders}
    present = {m: files.files(folders[m]) for m, files in media.items()}
    modalities = tuple(m for m in KEYS if present.get(m))
    if modalities[:2] != ("inertial", "skeleton"):
        raise UserError(f"'{source}' is not a UTD-MHAD folder. Expected:\n{LAYOUT}")
    problems = [note for m in modalities for note in media[m].notes(folders[m].name, ())]
    clips: Files = {}
    for m in modalities:
        for path in present[m]:
            problems += _add_file(clips, m, path)
    for clip, files in list(clips.items()):
        if reasons := _left_out(clip, files, modalities):
            problems += reasons
            del clips[clip]
    return modalities, Scan([_clip(name, files) for name, files in sorted(clips.items())], problems)


def recipe(modalities: Sequence[str]) -> Recipe:
    """Samples of fixed size: inertial (64, 6), skeleton (64, 60), depth (16, 24, 32), all float32."""
    return Recipe("mat", {"version": 1}, {m: SHAPES[m] for m in modalities}, decode, ("numpy",))


def decode(clip: Clip, _: Mapping[str, object]) -> dict[str, Array]:
    """Modality -> the sample of a clip, float32: inertial (64, 6), skeleton (64, 60), depth (16, 24, 32).

    `Unusable` that names the file.
    """
    return {m: RECIPES[m](_read(path, KEYS[m])) for m, path in clip.files.items()}


def as_arrays(cache: Cache) -> dict[str, Array]:
    """The N clips of a cache in array form: x_MODALITY (N, ...), y, split, group and id (N,), class_names (27,)."""
    numbers = np.array([_numbers(clip) for clip in cache.index.ids])
    parts = {1: "train", 3: "train", 5: "train", 7: "val"}
    return {
        **{f"x_{m}": np.asarray(array)[cache.rows] for m, array in cache.arrays.items()},
        "y": numbers[:, 0] - 1,
        "split": np.array([parts.get(s, "test") for s in numbers[:, 1]]),
        "group": numbers[:, 1],
        "id": np.array(cache.index.ids),
        "class_names": np.array(ACTIONS),
    }


def short_name(path: Path) -> str:
    """Folder and file, as in reports and in the manifest.

    >>> short_name(Path("/raw/Inertial/a1_s1_t1_inertial.mat"))
    'Inertial/a1_s1_t1_inertial.mat'
    """
    return f"{path.parent.name}/{path.name}"


def _add_file(clips: Files, modality: str, path: Path) -> list[tuple[str, str]]:
    """Add a file to its clip; returns (file, reason) if it is left out."""
    match = re.fullmatch(rf"a(\d+)_s(\d+)_t(\d+)_{modality}\.mat", path.name.lower())
    name = short_name(path)
    if not match or not 1 <= int(match[1]) <= len(ACTIONS) or int(match[2]) not in SUBJECTS:
        return [(name, f"not named aA_sS_tT_{modality}.mat with A = 1..27, S = 1..8")]
    files = clips.setdefault("a{}_s{}_t{}".format(*map(int, match.groups())), {})
    if modality in files:
        return [(name, f"the same clip as {files[modality].name}")]
    files[modality] = path
    return []


def _left_out(clip: str, files: Mapping[str, Path], modalities: Sequence[str]) -> list[tuple[str, str]]:
    """(file or clip, reason) of a clip that is left out before anything is decoded; empty if it is used."""
    missing = [m for m in modalities if m not in files]
    if missing:
        return [(clip, f"no usable {' and no usable '.join(missing)} file")]
    broken = [path for path in files.values() if not path.exists()]
    return [(short_name(path), "unreadable: a link to a missing file") for path in broken]


def _clip(name: str, files: Mapping[str, Path]) -> Clip:
    action, subject, _ = _numbers(name)
    return Clip(name, action - 1, str(subject), files)


def _numbers(clip: str) -> list[int]:
    """Action, subject and trial, each from 1."""
    return [int(number) for number in re.findall(r"\d+", clip)]


def _read(path: Path, key: str) -> Array:
    """One variable of a .mat file, float64; `Unusable` names the file. Time is the last axis, but not in inertial."""
    from scipy.io import loadmat, whosmat

    name = short_name(path)
    try:
        content = path.read_bytes()
        if content.startswith(POINTER):
            raise Unusable(f"{name}: a git-LFS pointer, not the data: run `git lfs pull` where it comes from")
        sizes = {stored: math.prod(shape) for stored, shape, _ in whosmat(BytesIO(content))}
        if reason := excess(8 * sizes.get(key, 0)):
            raise Unusable(f"{name}: {reason}")
        array = loadmat(BytesIO(content), variable_names=[key])[key]
    except Unusable:
        raise
    except NotImplementedError:  # how scipy refuses them
        raise Unusable(f"{name}: saved in the format of MATLAB 7.3. Save it again with save(..., '-v7').") from None
    except KeyError:
        raise Unusable(f"{name}: has no variable '{key}'") from None
    except Exception as error:  # the reader fails in many ways on a damaged file
        raise Unusable(f"{name}: unreadable or truncated ({type(error).__name__}: {error})") from error
    shape = {"d_iner": (None, 6), "d_skel": (20, 3, None), "d_depth": (None, None, None)}[key]
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in "iuf" or not fits or min(array.shape[0], array.shape[-1]) < 2:
        raise Unusable(
            f"{name}: '{key}' is {array.dtype} {array.shape}, expected numbers {shape} over at least 2 frames"
        )
    if not np.isfinite(array).all():
        raise Unusable(f"{name}: NaN or infinite values")
    samples: Array = array.astype(np.float64)
    return samples


def _inertial(x: Array) -> Array:
    """(T, 6) -> (64, 6) float32"""
    return resample(x, 64)


def _skeleton(x: Array) -> Array:
    """(20, 3, T) -> (64, 60) float32, joints before coordinates"""
    frames = x.transpose(2, 0, 1)
    return resample((frames - frames[:, HIP : HIP + 1]).reshape(len(frames), 60), 64)


def _depth(x: Array) -> Array:
    """(H, W, T) -> (16, 24, 32) float32"""
    return resample(area_means(area_means(x.transpose(2, 0, 1) / 1000, 24, 1), 32, 2), 16)


def area_means(x: Array, size: int, axis: int) -> Array:
    """The means over `size` areas of nearly equal width along an axis, which then has this length."""
    edges = np.linspace(0, x.shape[axis], size + 1).round().astype(int)
    return np.stack([x.take(range(a, max(b, a + 1)), axis).mean(axis) for a, b in pairwise(edges)], axis)


def resample(x: Array, steps: int) -> Array:
    """(T, ...) -> (steps, ...) float32 by linear interpolation; the first and the last frame do not change.

    >>> resample(np.array([0.0, 2.0, 4.0]), 5)
    array([0., 1., 2., 3., 4.], dtype=float32)
    """
    at = np.linspace(0, len(x) - 1, steps)
    left = np.minimum(at.astype(int), len(x) - 2)
    weight = (at - left).reshape(-1, *[1] * (x.ndim - 1))
    between: Array = x[left] * (1 - weight) + x[left + 1] * weight
    return between.astype(np.float32)


RECIPES: dict[str, Callable[[Array], Array]] = {"inertial": _inertial, "skeleton": _skeleton, "depth": _depth}
