"""Small complete pickles in the form of MMSA: aligned, unaligned, and with a score for each modality."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array

PARTS = {"train": ("03bSnISJMiM", 8), "valid": ("c5xsKMxpXnc", 4), "test": ("tmZoasNr4rU", 4)}
CHANNELS = {"text": 8, "audio": 3, "video": 4}
DIALS = {f"{m}_channels": size for m, size in CHANNELS.items()}
ALIGNED = {"text": 5, "audio": 5, "video": 5}
UNALIGNED = {"text": 5, "audio": 9, "video": 7}
SIMS: dict[str, Any] = {**DIALS, "steps": 5, "audio_steps": 9, "video_steps": 7}
LETTERS = {"text": "T", "audio": "A", "video": "V"}
Content = dict[str, dict[str, Any]]


def score(row: int) -> float:
    """-1, -0.5, 0.5 or 1 in turns."""
    return (-1.0, 0.5, -0.5, 1.0)[row % 4]


def part(
    video: str,
    count: int,
    steps: Mapping[str, int] = ALIGNED,
    own: bool = False,
    channels: Mapping[str, int] = CHANNELS,
) -> dict[str, Any]:
    """One part, whose samples have 2, 3, ... real steps up to all of them."""
    draws = np.random.default_rng([count, *video.encode()])
    real = {m: 2 + np.arange(count) % (most - 1) for m, most in steps.items()}
    aligned = len(set(steps.values())) == 1
    scores = np.array([score(row) for row in range(count)], np.float32)
    values = {}
    for m, most in steps.items():
        x = draws.normal(size=(count, most, channels[m])).astype(np.float32) + 0.1 * scores[:, None, None]
        values[m] = x * (np.arange(most) < real[m][:, None])[..., None]
    mask = np.arange(steps["text"]) < real["text"][:, None]
    tokens = np.stack([np.full(mask.shape, 7.0), mask, np.zeros(mask.shape)], 1).astype(np.float32)
    made: dict[str, Any] = {
        "raw_text": np.array(["A SENTENCE"] * count),
        "text": values["text"],
        "text_bert": tokens,
        "audio": values["audio"].astype(np.float64),
        "vision": values["video"].astype(np.float64),
        "id": [f"{video}$_${n}" for n in range(count)],
        "annotations": ["Positive"] * count,
        "classification_labels": np.ones(count, np.float32),
        "regression_labels": scores,
    }
    if not aligned:
        made |= {"audio_lengths": real["audio"].tolist(), "vision_lengths": real["video"].tolist()}
    return made | ({f"regression_labels_{LETTERS[m]}": _own(scores, m) for m in LETTERS} if own else {})


def _own(scores: Array, modality: str) -> Array:
    """The score of one modality alone: the text's is that of all, the others' is moved by their place."""
    moved = {"text": 0.0, "audio": 0.2, "video": -0.4}[modality]
    return (scores + np.float32(moved)).clip(-1, 1)


def content(**options: Any) -> Content:
    """What the pickle holds."""
    return {name: part(*of, **options) for name, of in PARTS.items()}


def write_mmsa(
    folder: Path, name: str = "aligned_50.pkl", change: Callable[[Content], object] | None = None, **options: Any
) -> Path:
    """The folder with one pickle. change: of the content before."""
    folder.mkdir(parents=True, exist_ok=True)
    made = content(**options)
    if change:
        change(made)
    (folder / name).write_bytes(pickle.dumps(made, 4))
    return folder


def write_sims(folder: Path, change: Callable[[Content], object] | None = None) -> Path:
    """The folder with the unaligned pickle of CH-SIMS, which has a score for each modality; `SIMS` are its dials."""
    return write_mmsa(folder, "unaligned_39.pkl", change, steps=UNALIGNED, own=True)
