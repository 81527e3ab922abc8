"""What is trained while it is timed: two networks on random data, in a training as the harness runs it."""

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple, cast

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.layout import lay_out
from mcr_bench.bench.models.multimodal import MultimodalModel
from mcr_bench.bench.perf.measured import Machine
from mcr_bench.bench.planning.heads import USUAL, usual_head
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import Value, build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.loop import Training
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.bench.training.progress import Progress
from mcr_bench.datasets.base import Modality, Split, Splits
from mcr_bench.methods.base import Method

CLASSES = 6
DRAWN = 512  # samples that are drawn at most; further ones repeat them, as drawing images takes seconds


class Workload(NamedTuple):
    """Data and model of a training that is timed.

    shapes: modality -> the shape of its samples.
    batch: the batch size.
    samples: the number of samples, which are one epoch.
    kind: the kind of the encoders.
    width: the width of the features.
    """

    shapes: dict[str, tuple[int, ...]]
    batch: int
    samples: int
    kind: str
    width: int

    @property
    def has_images(self) -> bool:
        """Whether a modality consists of images."""
        return any(len(shape) == 3 for shape in self.shapes.values())


# The spectrogram of the MCR paper's CREMA-D preset, with one frame or with three.
IMAGES: dict[str, tuple[int, ...]] = {"m1": (1, 257, 188), "m2": (3, 224, 224)}
CLIPS: dict[str, tuple[int, ...]] = {"m1": (1, 257, 188), "m2": (3, 3, 224, 224)}
VECTORS: dict[str, tuple[int, ...]] = {"m1": (32,), "m2": (32,)}
# Type of device -> name -> workload. The CPU has half the preset's batch of 32, in one step: it takes minutes.
WORKLOADS = {
    "cpu": {
        "resnet18": Workload(IMAGES, 16, 16, "resnet18", 512),
        "mlp": Workload(VECTORS, 64, 2048, "mlp", 64),
    },
    "cuda": {
        "resnet18": Workload(CLIPS, 32, 1024, "resnet18", 512),
        "mlp": Workload(VECTORS, 64, 2048, "mlp", 64),
    },
}
# Type of device -> the precisions that the networks of images are timed in; the others are timed in fp32.
PRECISIONS: dict[str, tuple[Precision, ...]] = {"cpu": ("fp32",), "cuda": ("fp32", "tf32", "bf16")}


def workloads(machine: Machine) -> Mapping[str, Workload]:
    """Name -> workload on this machine."""
    return WORKLOADS["cuda" if machine.kind == "cuda" else "cpu"]


def precisions(machine: Machine, workload: Workload) -> tuple[Precision, ...]:
    """The precisions in which a workload is timed on this machine."""
    return PRECISIONS["cuda"] if workload.has_images and machine.kind == "cuda" else PRECISIONS["cpu"]


def reference_method() -> type[Method]:
    """The reference method that trains one fused loss and nothing else."""
    classes = [registry.method(n) for n in registry.method_names()]
    return next(c for c in classes if c.role == "reference" and not c.needs.own_heads)


@lru_cache(maxsize=2)
def random_samples(shapes: tuple[tuple[str, tuple[int, ...]], ...], samples: int, device: torch.device) -> Split:
    """Random samples on a device, drawn once for all trainings of a workload."""
    drawn, place = min(samples, DRAWN), torch.arange(samples, device=device)
    values = {}
    for m, shape in shapes:
        x = torch.randn(drawn, *shape, generator=generator(0, "data", m)).to(device)
        values[m] = x if drawn == samples else x[place % drawn]
    return Split(values, place % CLASSES, [str(i) for i in range(samples)])


def network(workload: Workload, head: str = USUAL) -> MultimodalModel:
    """The model of a workload with a fusion head, without its initial weights."""
    encoder = build(EncoderSettings, {"kind": workload.kind})
    modalities = {m: Modality(shape) for m, shape in workload.shapes.items()}
    width = build(ModelSettings, {"width": workload.width, "fusion": head})
    return build_model(modalities, Task(CLASSES), width, dict.fromkeys(workload.shapes, encoder))


def training_run(
    machine: Machine,
    workload: Workload,
    cls: type[Method],
    precision: Precision = "fp32",
    settings: Mapping[str, Value] | None = None,
    split: Split | None = None,
    deterministic: bool = False,
) -> Training:
    """A training on random data of the workload, ready for its first epoch.

    The process computes in its precision from now on. precision: the setting of training. settings: those of the method
    that are not the default. split: the samples; None for random ones on the device. deterministic: as
    `--deterministic`, which remains for the rest of the process.
    """
    devices.numerics(machine.device, precision, deterministic)
    training = build(TrainingSettings, {"batch_size": workload.batch, "precision": precision})
    if split is None:
        split = random_samples(tuple(workload.shapes.items()), workload.samples, machine.device)
    model, method = network(workload, usual_head(cls).name), build(cls, settings or {})
    method.build(model)
    initialise(model, 0)
    lay_out(model.to(machine.device).encoders, model.encoders if devices.prefers_channels_last(machine.device) else ())
    fit = Fit(model, Task(CLASSES), training, split, split, 0, machine.device)
    method.fit = fit
    method.on_fit_start()
    fit.optimizer = make_optimizer(method.parameter_groups(model), training.optimizer)
    model.train()
    fit.epoch = 1
    spec = cast(RunSpec, SimpleNamespace(seed=0, pathways={}))  # an epoch reads nothing else of it
    splits = Splits(split, split, split)
    return Training(spec, method, fit, splits, None, None, Progress(), workload.batch, split.labels)
