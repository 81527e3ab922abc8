"""A tone and a colour of the same class, generated anew for each seed: a small dataset that needs no files."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mcr_bench.bench.core.seeds import generator
from mcr_bench.bench.settings import setting
from mcr_bench.bench.task import Task
from mcr_bench.datasets.base import Card, Dataset, Facts, Modality, Protocol, Split, Splits, standardise

CLASSES, STEPS, COLOURS = 3, 32, 6
SIZES = {"train": 240, "val": 90, "test": 150}


def tone(target: Tensor, phase: Tensor) -> Tensor:
    """Sine waves (N, T, 1) with class + 1 periods; target: (N,) classes, phase: (N,) in radians."""
    time = torch.arange(STEPS) / STEPS
    return torch.sin(2 * torch.pi * (target[:, None] + 1) * time + phase[:, None])[..., None]


@dataclass
class Tones(Dataset):
    """Sine waves whose frequency is the class, and colours near one of the class, both with noise."""

    noise: float = setting(1.0, "standard deviation of the noise", origin="chosen here", at_least=0)
    name = "tones"
    card = Card(
        title="Sine waves and colours",
        homepage="",
        licence="generated (MIT)",
        layout="no files: generated when a run starts",
        expected="240 / 90 / 150 samples",
    )

    def facts(self) -> Facts:
        shapes = {"tone": Modality((STEPS, 1)), "colour": Modality((COLOURS,))}
        return Facts(shapes, Task(CLASSES), ("low", "middle", "high"))

    def protocols(self) -> dict[str, Protocol]:
        return {"drawn": Protocol("drawn", "240/90/150 samples, drawn anew for each seed", "validation", "accuracy")}

    def fingerprint(self) -> str:
        return "tones 1"  # a version: to be changed if the same settings and seed give other numbers

    def load(self, protocol: str, fold: int, seed: int, modalities: tuple[str, ...]) -> Splits:
        return standardise(Splits(*(self.part(seed, name, modalities) for name in SIZES)))

    def part(self, seed: int, name: str, modalities: tuple[str, ...]) -> Split:
        """One part; every modality draws from a stream of its own, so that it is the same with and without others."""
        count = SIZES[name]
        target = torch.arange(count) % CLASSES
        centres = torch.randn(CLASSES, COLOURS, generator=generator(seed, "data", "centres"))
        phase = 2 * torch.pi * torch.rand(count, generator=generator(seed, "data", name, "phase"))
        clean = {"tone": tone(target, phase), "colour": centres[target]}
        values = {
            m: clean[m] + self.noise * torch.randn(clean[m].shape, generator=generator(seed, "data", name, m))
            for m in modalities
        }
        return Split(values, target, [f"{name}{i}" for i in range(count)])
