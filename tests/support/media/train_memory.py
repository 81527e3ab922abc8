"""Prepare and train on many synthetic clips in a process whose anonymous memory is limited, and say what it took.

Run by hand: python tests/support/media/train_memory.py --clips 50000. Mapped pages of the cache do not count; the limit
(RLIMIT_DATA, which also counts memory asked for and never touched) ends whatever goes beyond it. test_rows.py has the
short version.
"""

import argparse
import json
import os
import resource
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.arrays import Array
from mcr_bench.bench.planning.plan import make_plan
from mcr_bench.bench.planning.request import Request
from mcr_bench.bench.runs.events import Event, Job, RunDone
from mcr_bench.bench.settings.declaration import setting
from mcr_bench.bench.training.loop import fit_run
from mcr_bench.datasets.base import Card, Modality, Preparation
from mcr_bench.datasets.cache.opened import Cache
from mcr_bench.datasets.cache.recipe import Clip, Field, Recipe, Scan
from mcr_bench.datasets.clips.dataset import ClipDataset, Rule
from mcr_bench.datasets.clips.rows import Plain, View
from mcr_bench.datasets.clips.views import Frames

FRAMES, BANDS, CLASSES = 3, 64, 5
LIMIT_MIB = 2048
SETTINGS = {"epochs": ["1"], "encoder.width": ["4"], "model.width": ["16"]}


def decode(clip: Clip, settings: Mapping[str, Any]) -> dict[str, Array]:
    """Frames and a spectrogram of noise, another one for every clip, whose mean tells the class."""
    rng, side = np.random.default_rng(int(clip.id)), settings["side"]
    video = rng.integers(0, 128, (FRAMES, 3, side, side), dtype=np.uint8) + np.uint8(20 * clip.label)
    audio = rng.standard_normal((1, BANDS, BANDS), dtype=np.float32) + clip.label
    return {"video": video, "audio": audio.astype(np.float16), "aspect": np.array(4 / 3, np.float32)}


@dataclass
class ManyClips(ClipDataset):
    name: ClassVar[str] = "many-clips"
    card: ClassVar[Card] = Card("Synthetic clips", "none", "none", "one file", "any number of clips")
    clips: int = setting(100, "how many", at_least=10)
    side: int = setting(64, "side of a frame in pixels", at_least=8)

    def scan(self, source: Path, splits: Sequence[Path]) -> Scan:
        return Scan([Clip(f"{i:06}", i % CLASSES, f"{i:06}", {"seed": source / "seed"}) for i in range(self.clips)])

    def recipe(self) -> Recipe:
        shapes = {"video": ((FRAMES, 3, self.side, self.side), "uint8"), "audio": ((1, BANDS, BANDS), "float16")}
        fields = {name: Field(*form) for name, form in {**shapes, "aspect": ((), "float32")}.items()}
        return Recipe("noise", {"side": self.side, "clips": self.clips}, fields, decode)

    def view(self, modality: str, cache: Cache, train: Array) -> View:
        return Frames("video", self.side) if modality == "video" else Plain("audio")

    def modalities(self) -> dict[str, Modality]:
        return {"video": Modality((FRAMES, 3, self.side, self.side)), "audio": Modality((1, BANDS, BANDS))}

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("abcde")

    def rules(self, cache: Cache) -> dict[str, Rule]:
        part = np.resize(np.repeat(["train", "val", "test"], [8 * CLASSES, CLASSES, CLASSES]), len(cache.rows))
        return {"any": Rule("8 : 1 : 1", "validation", "accuracy", lambda _: part)}


def anonymous_mib(process: int | str = "self") -> float:
    """RssAnon of a process, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


class Watch(threading.Thread):
    """Keeps the highest anonymous memory of this process and of its children while it is entered."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.own = self.child = 0.0

    def run(self) -> None:
        while not self.done.wait(0.02):
            self.own = max(self.own, anonymous_mib())
            for process in children():
                try:
                    self.child = max(self.child, anonymous_mib(process))
                except (OSError, StopIteration):
                    continue  # it has just ended

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.join()


def children() -> list[str]:
    """Process ids of the workers of this process."""
    return [p for task in Path("/proc/self/task").iterdir() for p in (task / "children").read_text().split()]


def train(data: Path, home: Path, settings: dict[str, list[str]]) -> Event:
    """One run of joint training by the harness's own loop; returns its last event."""
    request = Request(["joint"], [ManyClips.name], data_root=data, seeds=[0], overrides={**SETTINGS, **settings})
    (spec,) = make_plan(request).runs
    folder = home / "run"
    folder.mkdir(parents=True)
    events: list[Event] = []
    fit_run(Job(spec, "cpu", folder, {}, home / "weights.pt"), events.append)
    return events[-1]


def main(clips: int, side: int, batch: int, folder: Path, limit_mib: int) -> dict[str, float]:
    """Prepare, train, and say in MiB how large the cache is and how much anonymous memory each took at most."""
    torch.set_num_threads(1)
    registry.dataset = lambda _: ManyClips  # type: ignore[assignment]
    source, data = folder / "raw", folder / "data"
    source.mkdir()
    (source / "seed").write_text("0")
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * 2**20, limit_mib * 2**20))
    dataset = ManyClips(data / ManyClips.name, clips, side)
    with Watch() as preparing:
        dataset.prepare(Preparation(source))
    before = anonymous_mib()
    with Watch() as training:
        sizes = {"dataset.clips": clips, "dataset.side": side, "batch_size": batch}
        end = train(data, folder / "home", {key: [str(value)] for key, value in sizes.items()})
    assert isinstance(end, RunDone)
    size = sum(file.stat().st_size for file in dataset.folder.glob("*.npy"))
    return {
        "clips": clips,
        "cache_mib": round(size / 2**20, 1),
        "preparing_parent_mib": round(preparing.own, 1),
        "preparing_worker_mib": round(preparing.child, 1),
        "before_training_mib": round(before, 1),
        "training_peak_mib": round(training.own, 1),
        "training_mib": round(training.own - before, 1),
        "limit_mib": limit_mib,
        "test_accuracy": round(end.metrics["test/accuracy"], 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--limit-mib", type=int, default=LIMIT_MIB)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from train_memory import main as measure  # the workers of prepare find `decode` by the name of its module

    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(measure(given.clips, given.side, given.batch, given.folder or Path(place), given.limit_mib)))
