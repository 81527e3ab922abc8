"""The same samples as an .npz, and as folders of each other form, with their dataset.toml."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

COUNT = 30
DRAWS = np.random.default_rng(0)
VOICE = DRAWS.normal(size=(COUNT, 4)).astype(np.float32)
FACE = DRAWS.normal(size=(COUNT, 5, 2))
Y = np.arange(COUNT) % 3
SPLIT = np.repeat(["train", "val", "test"], [18, 6, 6])
GROUP = np.array([f"g{i}" for i in np.arange(COUNT) // 3])
COLUMNS = ("y", "split", "group")
MAPPING = 'label = "y"\nsplit = "split"\ngroup = "group"\n\n[modalities]\n'
BOTH = 'voice = "voice"\nface = "face"\n'


def arrays() -> dict[str, Any]:
    """The samples, by the keys of the folders."""
    return {"y": Y, "split": SPLIT, "group": GROUP, "voice": VOICE, "face": FACE}


def write_npz(path: Path) -> Path:
    """The samples as one .npz."""
    np.savez(path, **{f"x_{k}" if k not in COLUMNS else k: x for k, x in arrays().items()})
    return path


def described(folder: Path, toml: str) -> Path:
    """The folder with this dataset.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    return folder


def write_npy(folder: Path) -> Path:
    """An .npy for each array."""
    toml = MAPPING + BOTH
    for key, array in arrays().items():
        toml = toml.replace(f'"{key}"', f'"{key}.npy"')
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{key}.npy", array)
    return described(folder, toml)


def write_pt(folder: Path) -> Path:
    """One file of torch: tensors, and lists of texts."""
    folder = described(folder, f'file = "all.pt"\n{MAPPING}{BOTH}')
    torch.save(
        {k: x.tolist() if x.dtype.kind == "U" else torch.tensor(x) for k, x in arrays().items()}, folder / "all.pt"
    )
    return folder


def write_parquet(folder: Path) -> Path:
    """One Parquet file with lists, in several row groups."""
    folder = described(folder, f'file = "all.parquet"\n{MAPPING}{BOTH}')
    columns = {key: pa.array(array.tolist() if array.ndim > 2 else list(array)) for key, array in arrays().items()}
    pq.write_table(pa.table(columns), folder / "all.parquet", row_group_size=7)
    return folder


def write_csv(folder: Path) -> Path:
    """A CSV table of one column per number; the sequences in an .npy beside it."""
    folder = described(folder, f'file = "all.csv"\n{MAPPING}voice = ["v0", "v1", "v2", "v3"]\nface = "face.npy"\n')
    lines = ["y,split,group,v0,v1,v2,v3"]
    rows = zip(Y, SPLIT, GROUP, VOICE, strict=True)
    lines += [f"{y},{part},{group},{','.join(map(str, voice))}" for y, part, group, voice in rows]
    (folder / "all.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(folder / "face.npy", FACE)
    return folder


def write_jsonl(folder: Path) -> Path:
    """JSON lines with nested lists."""
    folder = described(folder, f'file = "all.jsonl"\n{MAPPING}{BOTH}')
    listed = {key: array.tolist() for key, array in arrays().items()}
    lines = [json.dumps({key: values[row] for key, values in listed.items()}) for row in range(COUNT)]
    (folder / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


FORMS: dict[str, Callable[[Path], Path]] = {
    "npy": write_npy,
    "pt": write_pt,
    "parquet": write_parquet,
    "csv": write_csv,
    "jsonl": write_jsonl,
}
