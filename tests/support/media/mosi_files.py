"""Small complete copies of CMU-MOSI and CMU-MOSEI in both published forms: what the tests of these sets share."""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.base import Preparation
from mcr_bench.datasets.mosi import Mosi

CHANNELS = {"text": 300, "audio": 5, "video": 20}
MOSEI_CHANNELS = {"text": 300, "audio": 74, "video": 35}
SMALL = {"text": 6, "audio": 3, "video": 4}
DIALS = {f"{m}_channels": size for m, size in SMALL.items()}
ALL = ("text", "audio", "video")
VIDEOS = {
    "train": ["03bSnISJMiM", "-UUCSKoHeMA", "x266rUJQC_8", "188343"],
    "valid": ["c5xsKMxpXnc", "AxNy9TeTLq8"],
    "test": ["tmZoasNr4rU", "286943"],
}
SEGMENTS = 4  # of every video: 16, 8 and 8 samples
STEPS = 10
NAMES = {
    "text": "CMU_MOSI_TimestampedWordVectors",
    "audio": "CMU_MOSI_COVAREP",
    "video": "CMU_MOSI_Visual_Facet_41",
    "labels": "CMU_MOSI_Opinion_Labels",
}


def segments(videos: Iterable[str]) -> list[tuple[str, int]]:
    return [(video, k) for video in videos for k in range(SEGMENTS)]


def sample(video: str, k: int, channels: Mapping[str, int] = SMALL) -> dict[str, Array]:
    """The real steps (T, C) of a segment, T from 3 to 9; the score can be learned from the text."""
    draws = np.random.default_rng([k, *video.encode()])
    steps = int(draws.integers(3, STEPS))
    x = {m: draws.normal(size=(steps, size)).astype(np.float32) for m, size in channels.items()}
    x["text"] += score(video, k)
    return x


def score(video: str, k: int) -> float:
    """-3, -1, 0 or 2.4."""
    return (-3.0, 2.4, 0.0, -1.0)[(k + len(video) + ord(video[0])) % 4]


def interval(k: int) -> tuple[float, float]:
    return 10.0 * k, 10.0 * k + 8


def multibench(channels: Mapping[str, int] = SMALL, form: str = "spans") -> dict[str, dict[str, Any]]:
    """What a pickle of MultiBench holds: zeros in front of every sample; `form` of ids: spans, brackets, video."""
    content = {}
    for part, videos in VIDEOS.items():
        rows = segments(videos)
        padded = {m: np.zeros((len(rows), STEPS, size), np.float32) for m, size in channels.items()}
        for row, (video, k) in enumerate(rows):
            for m, x in sample(video, k, channels).items():
                padded[m][row, -len(x) :] = x
        ids: Any = [f"{video}[{k}]" for video, k in rows]
        if form == "spans":
            ids = np.array([[video, *map(str, interval(k))] for video, k in rows], "S")
        elif form == "video":
            ids = np.array([video for video, _ in rows], object)
        content[part] = {
            "vision": padded["video"],
            "text": padded["text"].astype(np.float64),
            "audio": padded["audio"],
            "labels": np.array([score(video, k) for video, k in rows]).reshape(-1, 1, 1),
            "id": ids,
        }
    return content


def write_pickle(
    folder: Path,
    name: str = "mosi_data.pkl",
    protocol: int = 2,
    change: Callable[[dict[str, dict[str, Any]]], object] | None = None,
    **options: Any,
) -> Path:
    """The folder with one pickle, in protocols up to 3 under the names of numpy 1. change: of the content before."""
    folder.mkdir(parents=True, exist_ok=True)
    content = multibench(**options)
    if change:
        change(content)
    stored = pickle.dumps(content, protocol)
    (folder / name).write_bytes(stored.replace(b"cnumpy._core.", b"cnumpy.core.") if protocol < 4 else stored)
    return folder


def write_csd(path: Path, entries: Mapping[str, tuple[Any, Any]], root: str = "a sequence") -> None:
    """A computational sequence. entries: segment or video -> features, intervals."""
    with h5py.File(path, "w") as file:
        file.create_group(f"{root}/metadata")["root name"] = json.dumps(root)
        data = file.create_group(f"{root}/data")
        for name, (features, intervals) in entries.items():
            data[f"{name}/features"] = features
            data[f"{name}/intervals"] = intervals


def steps_of(k: int, count: int) -> Array:
    """(count, 2) seconds: equal steps of a segment's interval."""
    start, end = interval(k)
    edges = np.linspace(start, end, count + 1)
    return np.stack([edges[:-1], edges[1:]], 1).astype(np.float32)


def entries(modality: str, channels: Mapping[str, int] = SMALL) -> dict[str, tuple[Array, Array]]:
    """One modality of every segment, aligned."""
    result = {}
    for video, k in segments(v for videos in VIDEOS.values() for v in videos):
        x = sample(video, k, channels)[modality]
        result[f"{video}[{k}]"] = (x, steps_of(k, len(x)))
    return result


def labels(aligned: bool = False) -> dict[str, tuple[Array, Array]]:
    """As published, an entry per video; or aligned, one per segment, with emotions after the sentiment."""
    result = {}
    for video in (v for videos in VIDEOS.values() for v in videos):
        scores = np.array([[score(video, k)] for k in range(SEGMENTS)], np.float32)
        spans = np.array([interval(k) for k in range(SEGMENTS)], np.float32)
        result[video] = (scores, spans)
        if aligned:
            del result[video]
            result |= {
                f"{video}[{k}]": (np.pad(scores[k : k + 1], ((0, 0), (0, 6))), spans[k : k + 1]) for k in range(4)
            }
    return result


def write_sequences(folder: Path, aligned: bool = False, **replaced: Any) -> Path:
    """The folder with three aligned sequences, labels and folds. replaced: role -> other entries, None for no file."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {**{m: entries(m) for m in SMALL}, "labels": labels(aligned), **replaced}
    for role, content in made.items():
        if content is not None:
            write_csd(folder / f"{NAMES[role]}.csd", content, role)
    (folder / "standard_folds.json").write_text(json.dumps(VIDEOS))
    return folder


def mosi(folder: Path, **dials: Any) -> Mosi:
    return Mosi(folder / "data/mosi", **{**DIALS, **dials})


def prepared(folder: Path, source: Path, **dials: Any) -> Mosi:
    data = mosi(folder, **dials)
    data.prepare(Preparation(source))
    return data
