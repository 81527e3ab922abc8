"""Small complete pickles in the form of MultiBench: UR-FUNNY, MUStARD and IEMOCAP."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mcr_bench.bench.core.arrays import Array
from mcr_bench.datasets.iemocap import Iemocap
from mcr_bench.datasets.mustard import Mustard
from mcr_bench.datasets.ur_funny import UrFunny

SMALL = {"text": 6, "audio": 3, "video": 4}
DIALS: dict[str, Any] = {f"{m}_channels": size for m, size in SMALL.items()}
COUNTS = {"train": 12, "valid": 6, "test": 6}
STEPS = 5
NAMES = {UrFunny: "humor.pkl", Mustard: "sarcasm.pkl", Iemocap: "iemocap_data.pkl"}
Kind = type[UrFunny] | type[Mustard] | type[Iemocap]


def labels(kind: Kind, count: int) -> Array:
    """As each pickle has them: 0 or 1, -1 or 1, four pairs."""
    bits = np.arange(count) % 2
    if kind is Iemocap:
        has = np.stack([bits, 1 - bits, np.arange(count) % 3 == 0, bits], 1).astype(int)
        return np.stack([1 - has, has], 2).astype(np.float64)
    return (bits if kind is UrFunny else 2 * bits - 1).astype(np.float64)[:, None]


def write(folder: Path, kind: Kind, change: Any = None) -> Path:
    """The folder with a pickle: ids are numbers, text such as 2_15, or missing."""
    content: dict[str, dict[str, Any]] = {}
    for number, (part, count) in enumerate(COUNTS.items()):
        draws = np.random.default_rng(count + number)
        made = {m: draws.normal(size=(count, STEPS, size)) for m, size in SMALL.items()}
        for x in made.values():
            x[:, 0] = 0  # one step of padding
        ids = np.arange(count) + 100 * number
        content[part] = {"text": made["text"], "audio": made["audio"], "vision": made["video"]}
        content[part] |= {"labels": labels(kind, count)}
        if kind is not Iemocap:
            content[part] |= {"id": ids if kind is UrFunny else np.array([f"2_{i}" for i in ids])}
    if change:
        change(content)
    folder.mkdir(parents=True)
    (folder / NAMES[kind]).write_bytes(pickle.dumps(content, 4))
    return folder
