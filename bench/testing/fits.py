"""Small data, and fits that are ready to train on it, for tests of methods: ours and those of other packages.

>>> from mcr_bench.methods.joint import Joint
>>> method = Joint()
>>> fit = make_fit(method, ("audio", "video"))
>>> step(method)
>>> fit.step
1
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import ceil

import torch

from mcr_bench.bench.core.seeds import generator, initialise
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import call_in_place, checked_groups
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.declared import Encoder
from mcr_bench.bench.planning.heads import usual_head
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import EncoderSettings, ModelSettings, TrainingSettings
from mcr_bench.bench.task import Task
from mcr_bench.bench.testing.trials.stepped import fitting
from mcr_bench.bench.training.growth import let_grow
from mcr_bench.bench.training.optim import make_optimizer, rate_factor, set_rate
from mcr_bench.datasets.base import Batch, Modality, Split
from mcr_bench.methods.base import Method

NAMES = ("audio", "video", "text", "depth", "motion", "pulse")
THREE = Task(3)
SCORES, LABELS = 5, 3  # different scores, and labels that differ in which samples have them
SMALL = build(EncoderSettings, {"width": 8})


def tiny_split(
    modalities: tuple[str, ...] = NAMES[:2], task: Task = THREE, n: int = 24, width: int = 5, seed: int = 0
) -> Split:
    """A part of `n` samples: vectors (n, width) per modality, whose mean depends on the target.

    Targets are those of the task, whichever it is (see `Task`); every label and every score varies. Every four samples
    form a group.
    """
    number = torch.arange(n) % (task.classes or (2 ** min(task.labels, LABELS) if task.labels else SCORES))
    values = {
        m: torch.randn(n, width, generator=generator(seed, "data", m)) + number[:, None] * 0.5 for m in modalities
    }
    return Split(values, _targets(task, number), [f"s{i}" for i in range(n)], [f"g{i // 4}" for i in range(n)])


def _targets(task: Task, number: torch.Tensor) -> torch.Tensor:
    """The targets that the numbers (n,) of samples mean: themselves, their bits, or as scores with mean 0."""
    if task.labels is not None:
        return ((number[:, None] >> torch.arange(task.labels) % LABELS) & 1).float()
    if task.scores is not None:
        return ((number[:, None] + torch.arange(task.scores)) % SCORES).float() - 2.0
    return number.float() - 2.0 if task.regression else number


def make_fit(
    method: Method,
    modalities: tuple[str, ...] = NAMES[:2],
    task: Task = THREE,
    *,
    fusion: str = "",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    dependencies: list[dict[str, torch.Tensor]] | None = None,
    encoder: EncoderSettings | Encoder = SMALL,
    data: Split | None = None,
    prepare: Callable[[Fit], None] | None = None,
    **training: object,
) -> Fit:
    """A Fit of the method on `tiny_split`: model built, weights drawn, `on_fit_start` called, optimiser made.

    fusion: the fusion head; empty: late-linear, or where the method is not defined for it the first head that it is
    defined for, with encoders that give what the head reads. dtype: the type of inputs and weights. dependencies: state
    dicts of the runs that the method starts from. encoder: what every modality's encoder is. data: another part to
    train and validate on. prepare: called before `on_fit_start`, and may change the fit. training: settings of
    training, with two underscores for a dot: optimizer__lr=0.1.
    """
    data = data or tiny_split(modalities, task, seed=seed)
    values = {m: x.to(dtype) for m, x in data.values.items() if isinstance(x, torch.Tensor)}
    data = replace(data, values=values, target=data.target if task.classes else data.target.to(dtype))
    settings = _training(tuple((k.replace("__", "."), v) for k, v in training.items()))
    shapes = {m: Modality(tuple(x.shape[1:]), m in data.lengths, m in data.present) for m, x in values.items()}
    if not fusion:
        head = usual_head(type(method))
        fusion, encoder = head.name, fitting(encoder, head)
    model = build_model(shapes, task, _model(fusion), dict.fromkeys(modalities, encoder))
    call_in_place(method, "build", model)
    initialise(model, seed)
    model.to(dtype)
    fit = Fit(model, task, settings, data, data, seed, torch.device("cpu"), dependencies or [])
    method.fit = fit
    if prepare is not None:
        prepare(fit)
    method.on_fit_start()
    fit.optimizer = make_optimizer(checked_groups(method, method.parameter_groups(model)), settings.optimizer)
    let_grow(fit, method)
    return fit


@cache
def _training(values: tuple[tuple[str, object], ...]) -> TrainingSettings:
    return build(TrainingSettings, dict(values))


@cache
def _model(fusion: str) -> ModelSettings:
    return build(ModelSettings, {"fusion": fusion, "width": 6})


def whole_batch(fit: Fit) -> Batch:
    """All training samples of the fit as one batch."""
    return fit.train.batch(torch.arange(len(fit.train)))


def follow_schedule(fit: Fit) -> None:
    """Set the learning rates of the present step from each group's `base_lr`, as the training loop does."""
    settings, steps = fit.settings, ceil(len(fit.train) / fit.settings.batch_size)
    set_rate(fit.optimizer, rate_factor(settings.schedule, fit.step, steps, settings.epochs))


def begin(method: Method) -> None:
    """Begin the first epoch, unless one has begun."""
    fit = method.fit
    if not fit.epoch:
        fit.epoch = 1
        fit.model.train()
        method.on_epoch_start()


def step(method: Method, batch: Batch | None = None) -> None:
    """Make one training step of the method on `batch`; without one, on all training samples."""
    begin(method)
    fit = method.fit
    fit.step += 1
    follow_schedule(fit)
    fit.model.train()
    method.train_step(batch or whole_batch(fit))
