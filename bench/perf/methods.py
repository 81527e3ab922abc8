"""The part of `make perf` on methods: time of the harness over bare PyTorch, and of each method over joint training.

All results are ratios of two times that are measured one right after the other, never absolute times.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.loop import Progress, Training, train_epoch
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.datasets.base import Modality, Split, Splits
from mcr_bench.methods.base import Method

ROUNDS, HELP_ROUNDS = 5, 21  # starting a process is short, and its time varies much
TRIVIAL = "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str) -> None:\n    print(name)\napp()\n"


class Workload(NamedTuple):
    """Data and model of a training that is timed.

    shapes: modality -> the shape of its samples.
    batch: the batch size.
    samples: the number of samples, which are one epoch.
    kind: the kind of the encoders.
    """

    shapes: dict[str, tuple[int, ...]]
    batch: int
    samples: int
    kind: str


WORKLOADS = {
    # The spectrogram and frame of the MCR paper's CREMA-D preset, with half its batch of 32: minutes on a CPU.
    "resnet18": Workload({"m1": (1, 257, 188), "m2": (3, 224, 224)}, 16, 16, "resnet18"),
    "mlp": Workload({"m1": (32,), "m2": (32,)}, 64, 2048, "mlp"),
}


def main() -> None:
    """Print every ratio as a line and, last, all of them as JSON."""
    torch.set_num_threads(1)
    ratios: dict[str, float] = {}
    for workload in WORKLOADS:
        ratios |= harness_ratio(workload) | method_ratios(workload)
    ratios |= help_ratio()
    print(json.dumps(ratios))


def harness_ratio(workload: str) -> dict[str, float]:
    """Time of an epoch of joint training in the harness, without probe heads, over the same steps in a bare loop."""
    reference = reference_method()
    run = training_run(workload, reference)
    bare = _bare(training_run(workload, reference))
    title = f"{workload}: harness / bare loop"
    return {title: report_ratio(title, partial(train_epoch, run), bare)}


def method_ratios(workload: str) -> dict[str, float]:
    """Step time of every method that trains all modalities from scratch, over that of joint training."""
    classes = [registry.method(n) for n in registry.method_names()]
    reference, modalities = reference_method(), tuple(WORKLOADS[workload].shapes)
    ratios = {}
    for cls in classes:
        if cls is reference or cls.role == "unimodal" or not cls.trains or cls().requires(modalities):
            continue
        base, run = training_run(workload, reference), training_run(workload, cls)
        title = f"{workload}: {cls.name} / {reference.name}"
        ratios[title] = report_ratio(title, partial(train_epoch, run), partial(train_epoch, base))
    return ratios


def help_ratio() -> dict[str, float]:
    """Time of `mcr-bench --help` over the help of a Typer program with one command."""
    with tempfile.TemporaryDirectory() as folder:
        trivial = Path(folder) / "trivial.py"
        trivial.write_text(TRIVIAL)
        ours = [sys.executable, "-c", "from mcr_bench.cli import main; main()", "--help"]
        theirs = [sys.executable, str(trivial), "--help"]
        title = "mcr-bench --help / trivial Typer --help"
        return {title: report_ratio(title, lambda: _call(ours), lambda: _call(theirs), HELP_ROUNDS)}


def reference_method() -> type[Method]:
    """The reference method that trains one fused loss and nothing else."""
    classes = [registry.method(n) for n in registry.method_names()]
    return next(c for c in classes if c.role == "reference" and not c.needs.own_heads)


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def report_ratio(title: str, ours: Callable[[], None], theirs: Callable[[], None], rounds: int = ROUNDS) -> float:
    """Print and return the median over rounds of the ratio of the times of `ours` and `theirs`, measured in turns."""
    ours()
    theirs()
    ratios = [_seconds(ours) / _seconds(theirs) for _ in range(rounds)]
    middle = statistics.median(ratios)
    print(f"{title:45s} {middle:6.3f}   (rounds {min(ratios):.3f} to {max(ratios):.3f})", flush=True)
    return middle


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def training_run(workload: str, cls: type[Method]) -> Training:
    """A run of the method on random data of the workload, ready for its first epoch."""
    shapes, batch, samples, kind = WORKLOADS[workload]
    values = {m: torch.randn(samples, *shape, generator=generator(0, "data", m)) for m, shape in shapes.items()}
    split = Split(values, torch.arange(samples) % 6, [str(i) for i in range(samples)])
    settings = build(TrainingSettings, {"batch_size": batch})
    encoder = build(EncoderSettings, {"kind": kind})
    width = build(ModelSettings, {"width": 512 if kind == "resnet18" else 64})
    modalities = {m: Modality(shape) for m, shape in shapes.items()}
    model = build_model(modalities, Task(6), width, dict.fromkeys(shapes, encoder))
    method = cls()
    method.build(model)
    initialise(model, 0)
    fit = Fit(model, Task(6), settings, split, split, 0, torch.device("cpu"))
    method.fit = fit
    method.on_fit_start()
    fit.optimizer = make_optimizer(method.parameter_groups(model), settings.optimizer)
    model.train()
    fit.epoch = 1
    spec = cast(RunSpec, SimpleNamespace(seed=0))  # an epoch reads nothing else of it
    return Training(spec, method, fit, Splits(split, split, split), None, None, Progress(), batch)


def _bare(run: Training) -> Callable[[], None]:
    """An epoch as a user would write it by hand, with the same model, data, order and optimiser."""
    fit, batch = run.fit, run.fit.settings.batch_size

    def epoch() -> None:
        order = torch.randperm(len(fit.train))
        for index in order.split(batch):
            features = [fit.model.encoders[m](x[index]) for m, x in fit.train.values.items()]
            logits = (
                sum(layer(f) for layer, f in zip(fit.model.fusion.slices.values(), features, strict=True))
                + fit.model.fusion.bias
            )
            loss = torch.nn.functional.cross_entropy(logits, fit.train.target[index])
            fit.optimizer.zero_grad()
            loss.backward()
            fit.optimizer.step()

    return epoch


if __name__ == "__main__":
    main()
