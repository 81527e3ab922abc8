"""A dataset of stored rows in a file: cropped frames, flow, and standardised padded sequences, made in milliseconds."""

SET = '''"""Frames, flow and padded steps that stay on disk."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import torch

from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Dataset, Facts, Modality, Protocol, Split, Splits
from mcr_bench.datasets.clips.rows import CachedRows, standardised_view
from mcr_bench.datasets.clips.views import Flow, Frames


@dataclass
class Stored(Dataset):
    name: ClassVar[str] = "stored"

    def facts(self):
        shape = Modality((2, 3, 8, 8))
        return Facts({"frames": shape, "flow": shape, "steps": Modality((7, 2), padded=True)}, Task(3))

    def protocols(self):
        return {"only": Protocol("only", "37/18/18 samples", "validation", "accuracy")}

    def fingerprint(self):
        return "stored"

    def load(self, protocol, fold, seed, modalities):
        rng, count = np.random.default_rng(0), 73
        y = np.arange(count) % 3
        arrays = {
            "frames": rng.integers(0, 200, (count, 2, 3, 12, 12)).astype(np.uint8) + 15 * y[:, None, None, None, None],
            "flow": rng.integers(0, 256, (count, 2, 2, 12, 12)).astype(np.uint8),
            "steps": (rng.normal(-2, 3, (count, 7, 2)) + y[:, None, None]).astype(np.float16),
            "aspect": np.linspace(0.5, 2, count, dtype=np.float32),
        }
        arrays["frames"] = arrays["frames"].astype(np.uint8)
        lengths = rng.integers(1, 8, count)
        rows = rng.permutation(count)
        cache = SimpleNamespace(
            rows=rows,
            array=arrays.__getitem__,
            scalars=lambda name: arrays[name][rows],
            lengths=lambda _: lengths,
        )
        train, val, test = np.split(rng.permutation(count), [37, 55])
        views = {
            "frames": Frames("frames", 8),
            "flow": Flow("flow", 8, zero=128, unit=0.02),
            "steps": standardised_view(cache, "steps", train, padded=True),
        }

        def part(at):
            return Split(
                {m: CachedRows(cache, views[m], at) for m in modalities},
                torch.from_numpy(y[rows[at]]),
                [str(i) for i in at],
                lengths={m: torch.from_numpy(lengths[at]) for m in modalities if m == "steps"},
            )

        return Splits(part(train), part(val), part(test))
'''
