"""`make perf`: ratios within one run, never absolute times: harness over bare PyTorch, each method over joint."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.training.loop import Progress, Training, train_epoch
from mcr_bench.bench.training.optim import make_optimizer
from mcr_bench.datasets.base import Modality, Split, Splits
from mcr_bench.methods.base import Method

ROUNDS, HELP_ROUNDS = 5, 21  # starting a process is short and noisy
TRIVIAL = "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str) -> None:\n    print(name)\napp()\n"


class Scene(NamedTuple):
    """What is timed: modality -> shape, batch size, samples (one epoch), encoder kind."""

    shapes: dict[str, tuple[int, ...]]
    batch: int
    samples: int
    kind: str


SCENES = {
    # Spectrogram and frame of the MCR paper's CREMA-D preset; half its batch of 32, to end in minutes on a CPU.
    "resnet18": Scene({"m1": (1, 257, 188), "m2": (3, 224, 224)}, 16, 16, "resnet18"),
    "mlp": Scene({"m1": (32,), "m2": (32,)}, 64, 2048, "mlp"),
}


def main() -> None:
    """Print every ratio as a line and, last, all of them as JSON."""
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    for scene in SCENES:
        found |= harness_ratio(scene) | method_ratios(scene)
    found |= help_ratio()
    print(json.dumps(found))


def harness_ratio(scene: str) -> dict[str, float]:
    """Time of an epoch of joint training in the harness, without probes, over the same steps in a bare loop."""
    reference = reference_method()
    run = training_run(scene, reference)
    bare = _bare(training_run(scene, reference))
    return {
        f"{scene}: harness / bare loop": report_ratio(f"{scene}: harness / bare loop", lambda: train_epoch(run), bare)
    }


def method_ratios(scene: str) -> dict[str, float]:
    """Step time of every method that trains all modalities from scratch, over joint's."""
    classes = [registry.method(n) for n in registry.method_names()]
    reference = reference_method()
    found = {}
    for cls in classes:
        if cls is reference or cls.role == "unimodal" or not cls.trains or cls().requires(tuple(SCENES[scene].shapes)):
            continue
        base, run = training_run(scene, reference), training_run(scene, cls)
        title = f"{scene}: {cls.name} / {reference.name}"
        found[title] = report_ratio(title, lambda run=run: train_epoch(run), lambda base=base: train_epoch(base))  # type: ignore[misc]
    return found


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
    """The reference that trains one fused loss and needs nothing more."""
    classes = [registry.method(n) for n in registry.method_names()]
    return next(c for c in classes if c.role == "reference" and not c.needs.own_heads)


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def report_ratio(title: str, ours: Callable[[], None], theirs: Callable[[], None], rounds: int = ROUNDS) -> float:
    """Print and return the median over rounds of the ratio of two times taken one right after the other."""
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


def training_run(scene: str, cls: type[Method]) -> Training:
    """A run of the method on random data of the scene, ready for its first epoch."""
    shapes, batch, samples, kind = SCENES[scene]
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
    spec: Any = SimpleNamespace(seed=0)
    return Training(spec, method, fit, Splits(split, split, split), None, None, Progress(), batch)


def _bare(run: Training) -> Callable[[], None]:
    """The loop that a user would write by hand for the same model, data, order and optimiser."""
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
