"""The one training loop: load, build, epochs with validation, one test of the best epoch, everything recorded."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from mcr_bench.bench.catalog import nets, registry
from mcr_bench.bench.catalog.making import fingerprint_of, make_dataset
from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core import memory, seeds
from mcr_bench.bench.core.faults.damaged import Damaged, set_aside
from mcr_bench.bench.core.faults.of_gpus import tells_out_of_memory
from mcr_bench.bench.errors import UserError
from mcr_bench.bench.fit.evaluated import Evaluation
from mcr_bench.bench.fit.fit import Fit
from mcr_bench.bench.fit.returns import call_in_place, checked_groups, checked_state
from mcr_bench.bench.models.build import build_model
from mcr_bench.bench.models.layout import lay_out
from mcr_bench.bench.problem.absent import completed
from mcr_bench.bench.problem.floor import floor_metrics
from mcr_bench.bench.problem.missing import diagnostic, only_finite, tag_of
from mcr_bench.bench.runs.events import EpochDone, Event, Job, RunDone, Shortage, Told
from mcr_bench.bench.runs.spec import RunSpec
from mcr_bench.bench.settings.declaration import build
from mcr_bench.bench.settings.training import TrainingSettings
from mcr_bench.bench.training.after.diagnosis import of_disturbed, of_predictions, run_means, shares, subset_predictions
from mcr_bench.bench.training.after.told import costs_of, rounding_tags
from mcr_bench.bench.training.checkpoints import load_weights, read_checkpoint, save_weights, write_checkpoint
from mcr_bench.bench.training.compiling import Compiled, compile_encoders
from mcr_bench.bench.training.epochs import check_heeded, epoch_steps
from mcr_bench.bench.training.evaluation import absent_inputs, better, evaluate, features_of
from mcr_bench.bench.training.growth import keep_grown, let_grow
from mcr_bench.bench.training.optim import make_optimizer, rate_factor, set_rate
from mcr_bench.bench.training.placing import place_of, placed
from mcr_bench.bench.training.predictions import write_predictions
from mcr_bench.bench.training.probes import FeatureStore, Probes
from mcr_bench.bench.training.progress import Best, Logged, Progress
from mcr_bench.bench.training.reader import reading
from mcr_bench.bench.training.subsets import Subsets
from mcr_bench.datasets.base import Splits
from mcr_bench.methods.base import Method

WATCHED, MOVED = 8, 4  # steps per epoch on which gradient norms and passes, and movements, are measured
EPOCH_PROBE, FINAL_PROBE = 5, 100  # L-BFGS iterations: few for a curve during training, many for what is reported
CHECKPOINT_SECONDS = 5.0  # a run killed before this starts over, which takes less time than writing a checkpoint


@dataclass
class Training:
    """A run that is being trained.

    spec: the run.
    method: its method.
    fit: what the method sees.
    splits: the three parts of the data.
    probes: the probe heads; None where the method trains own heads.
    store: the features that the probe heads are fitted on; None where there are none.
    progress: what was done so far.
    chunk: the number of samples that are evaluated at a time.
    train_labels: (N,) of all training samples of the data, those too that lack all modalities of the run.
    deterministic: whether only algorithms are used that give the same bits every time.
    channels_last: the modalities whose encoders are laid out with the channels last.
    compiled: modality -> the `forward` of its encoder, where `encoder.compile` asks for it.
    """

    spec: RunSpec
    method: Method
    fit: Fit
    splits: Splits
    probes: Probes | None
    store: FeatureStore | None
    progress: Progress
    chunk: int
    train_labels: Tensor
    deterministic: bool = False
    channels_last: list[str] = field(default_factory=list)
    compiled: dict[str, Compiled] = field(default_factory=dict)


def fit_run(job: Job, emit: Callable[[Event], None], checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
    """Train a run to its end, or resume it, and send its events to `emit`.

    Its files are written to `job.folder`, its best weights to `job.weights_out`. checkpoint_seconds: the shortest time
    between two checkpoints.
    """
    device = devices.ready(job.device, job.deterministic)
    memory.require_room(device, job.room)
    memory.reset_peak(device)
    saved = time.monotonic()
    run = started(job, emit)
    for past in run.progress.history:
        emit(_event(run, past))
    while not finished(run):
        run_epoch(run)
        emit(_event(run, run.progress.history[-1]))
        if time.monotonic() - saved >= checkpoint_seconds:
            write_checkpoint(job.folder, run.fit, run.method, run.probes, vars(run.progress), run.spec.key)
            saved = time.monotonic()
    metrics = conclude(run, job)
    emit(
        RunDone(run.spec.key, metrics, run.progress.seconds, tags_of(run), memory.reserved_mib(device), _short_of(run))
    )


def started(job: Job, emit: Callable[[Event], None]) -> Training:
    """The run at its last checkpoint, or at its start; a checkpoint that cannot be used is set aside, and told of."""
    while True:
        run = start(job)
        try:
            resume(run, job)
            return run
        except Damaged as error:
            aside = set_aside(error.path)
            emit(Told(run.spec.key, f"{error}. It is kept as {aside.name}; the run goes on without it."))


def start(job: Job) -> Training:
    """Load the data, build the model and draw its weights, attach the method and make the optimiser."""
    spec, device = job.spec, devices.ready(job.device, job.deterministic)
    settings = build(TrainingSettings, spec.training)
    devices.numerics(device, settings.precision, job.deterministic)
    data = make_dataset(spec.dataset_source, spec.data_root, spec.dataset_settings)
    if fingerprint_of(data) != spec.fingerprint:
        raise UserError(f"the data of {spec.dataset} has changed since the run was planned. Start the command again.")
    loaded = data.load(spec.protocol, spec.fold, spec.seed, spec.modalities)
    splits, facts = completed(loaded), data.facts()
    task = facts.task.fitted(loaded.train.labels)  # of all samples: runs of one fold learn in one unit
    seeds.reseed_libraries(spec.seed, "method")
    method = build(registry.method(spec.source), spec.settings)
    encoders = {m: nets.encoder_of(values) for m, values in spec.encoders.items()}
    shapes = {m: facts.modalities[m] for m in spec.modalities}
    model = build_model(shapes, task, nets.head_of(spec.model), encoders)
    call_in_place(method, "build", model)
    seeds.initialise(model, spec.seed)
    dependencies = [load_weights(job.weights[run.key], device, run.key) for run in spec.dependencies]
    train, val = placed([part.learned(task).to(device) for part in (splits.train, splits.val)], device, job.sharing)
    images = [m for m, encoder in encoders.items() if encoder.kind.channels_last]
    laid_out = lay_out(model.to(device).encoders, images if devices.prefers_channels_last(device) else ())
    fit = Fit(model, task, settings, train, val, spec.seed, device, dependencies)
    method.fit = fit
    method.on_fit_start()
    fit.optimizer = make_optimizer(checked_groups(method, method.parameter_groups(model)), settings.optimizer)
    let_grow(fit, method)
    checked_state(method, method.state_dict())  # now, as the first checkpoint may come much later
    probed = not method.needs.own_heads
    probes, store = (Probes(model, device), FeatureStore(model)) if probed else (None, None)
    compiled = compile_encoders(fit, [m for m in spec.modalities if spec.rounding.get(f"encoder.{m}.compile")])
    chunk = 4 * settings.batch_size
    return Training(
        spec,
        method,
        fit,
        splits,
        probes,
        store,
        Progress(),
        chunk=chunk,
        train_labels=loaded.train.labels,
        deterministic=job.deterministic,
        channels_last=laid_out,
        compiled=compiled,
    )


def resume(run: Training, job: Job) -> None:
    """Continue from the run's checkpoint, if there is one; its results then equal those without the interruption.

    Damaged if it cannot be used.
    """
    kept = read_checkpoint(job.folder, run.fit, run.method, run.probes, run.spec.key)
    if kept is not None:
        run.progress = Progress(**kept)
    elif not run.method.trains:
        keep_if_better(run, validate(run))


def finished(run: Training) -> bool:
    """Whether all epochs are trained or patience has run out; always true for a method that does not train."""
    settings = run.fit.settings
    if not run.method.trains or run.fit.epoch >= settings.epochs:
        return True
    counted = run.progress.stale() + int(settings.patience_from == "best")
    return bool(settings.patience and run.progress.history) and counted >= settings.patience


def run_epoch(run: Training) -> None:
    """Train one epoch, validate, and keep the weights if they are the best so far."""
    fit = run.fit
    fit.epoch += 1
    began = time.perf_counter()
    fit.model.train()
    seeds.reseed_all(fit.device, run.spec.seed, "method", fit.epoch)
    run.method.on_epoch_start()
    train_epoch(run)
    means = fit.meters.means() | fit.movements.ratios()
    if fit.movements.failure:
        run.progress.missing["train/update_ratio"] = fit.movements.failure
    devices.synchronise(fit.device)
    run.progress.seconds += time.perf_counter() - began
    if run.probes is not None and run.store is not None:
        stored = diagnostic(run.progress.missing, "val/modality", run.store.take)
        run.probes.fit(stored or {}, EPOCH_PROBE)
    validation = validate(run)
    metrics = {f"train/{k}": v for k, v in means.items()} | {f"val/{k}": v for k, v in validation.metrics.items()}
    run.progress.history.append({"epoch": fit.epoch, "metrics": metrics, "when": time.time()})
    keep_if_better(run, validation)
    run.method.on_epoch_end(validation)


def train_epoch(run: Training) -> None:
    """Train on every batch of an epoch, in the order that seed and epoch give for all methods, or the method's own."""
    fit, settings = run.fit, run.fit.settings
    epoch = epoch_steps(run.method, fit, run.spec.pathways)
    steps = len(epoch)
    with reading(fit.train, epoch.order, settings.batch_size) as parts:
        for position, index in enumerate(parts):
            fit.step += 1
            seeds.reseed(fit.device, run.spec.seed, "augment", fit.epoch, fit.step)
            place = (fit.epoch - 1) * steps + position + 1
            set_rate(fit.optimizer, rate_factor(settings.schedule, fit.step, steps, settings.epochs, place))
            batch = epoch.dropping(fit.train.training_batch(index), position)
            if run.store is not None:
                run.store.expect(batch.target, batch.inputs.present, batch.own)
            with ExitStack() as watched:
                if position % max(1, steps // WATCHED) == 0:
                    watched.enter_context(fit.meters.watching(fit.model, len(batch.target)))
                if position % max(1, steps // MOVED) == 0:
                    watched.enter_context(fit.movements.watching(fit.model, fit.optimizer))
                with _told_of_one(run, len(batch.target)):
                    run.method.train_step(batch)
            check_heeded(run.method, fit, batch)


@contextmanager
def _told_of_one(run: Training, count: int) -> Iterator[None]:
    """Inside, the error of a batch of one sample names the setting that makes it: batch normalisation needs two."""
    try:
        yield
    except ValueError as error:
        if count > 1 or "more than 1 value per channel" not in str(error):
            raise
        size = run.fit.settings.batch_size
        raise UserError(
            f"the last batch of an epoch has one sample, and batch normalisation needs two ({error}). Set another "
            f"batch_size than {size}, such as {size + 1}, or use another normalisation."
        ) from error


def validate(run: Training) -> Evaluation:
    """Evaluate the validation part. RuntimeError if its loss is not finite, as training has then diverged."""
    run.fit.model.eval()
    validation = evaluate(run.method, run.fit.model, run.fit.val, run.probes, run.chunk, curve=True)
    loss = validation.metrics["loss"]
    if not math.isfinite(loss):
        raise RuntimeError(
            f"validation loss is {loss} at epoch {run.fit.epoch}: training diverged. Try a lower optimizer.lr, or set "
            "clip_norm."
        )
    run.progress.missing |= {f"val/{name}": reason for name, reason in validation.missing.items()}
    return validation


def keep_if_better(run: Training, validation: Evaluation) -> None:
    """Keep the weights of this epoch if its validation metrics are the best so far."""
    settings = run.fit.settings
    before = run.progress.best
    if better(validation.metrics, before and before["metrics"], settings.monitor, run.fit.task, settings.ties):
        weights = {name: tensor.detach().clone() for name, tensor in run.fit.model.state_dict().items()}
        best: Best = {
            "epoch": run.fit.epoch,
            "metrics": validation.metrics,
            "weights": weights,
            "grown": [*run.fit.grown],
        }
        run.progress.best = best


def conclude(run: Training, job: Job) -> dict[str, float]:
    """Test the weights of the best epoch, once; write predictions and weights; return the final metrics."""
    if not run.progress.best:
        keep_if_better(run, validate(run))
    fit, best = run.fit, run.progress.best
    assert best is not None
    seeds.reseed_all(fit.device, run.spec.seed, "method", "conclude")  # a run that is resumed here draws the same
    keep_grown(fit, best.get("grown", ()))
    fit.model.load_state_dict(best["weights"])
    fit.model.eval()
    missing = run.progress.missing
    if run.probes is not None:
        run.probes.fit(diagnostic(missing, "test/modality", partial(_features, run)) or {}, FINAL_PROBE)
    absent = diagnostic(missing, "absent_inputs", partial(absent_inputs, fit.train))
    metrics = costs_of(fit, [row["metrics"] for row in run.progress.history], run.progress.seconds, missing)
    metrics |= {"best_epoch": float(best["epoch"]), "epochs": float(fit.epoch)}
    metrics |= run_means([row["metrics"] for row in run.progress.history])
    parts = {}
    metrics |= floor_metrics(run.train_labels, run.splits.test.labels, fit.task)
    metrics["data/train_samples"] = float(len(fit.train))
    for part, split in (("val", fit.val), ("test", run.splits.test.learned(fit.task).to(fit.device))):
        also = None if absent is None else Subsets(run.method, fit.model, absent)
        evaluation = evaluate(run.method, fit.model, split, run.probes, run.chunk, also)
        place, lost = "selected_val" if part == "val" else part, dict(evaluation.missing)  # `val/...` are the curves
        subsets = subset_predictions(run.method, split, absent, run.chunk, also, lost)
        scored = evaluation.metrics | shares(evaluation, subsets, fit.task, lost)
        if part == "test":
            began = time.perf_counter()
            scored |= of_predictions(evaluation, subsets, fit.task, split.present, lost)
            scored |= of_disturbed(run.method, split, run.chunk, lost)
            metrics["cost/diagnostics_seconds"] = time.perf_counter() - began
        metrics |= {f"{place}/{name}": value for name, value in scored.items()}
        missing |= {f"{place}/{name}": reason for name, reason in lost.items()}
        metrics[f"data/{part}_samples"] = float(len(split))
        parts[part] = (split, evaluation, subsets)
    write_predictions(job.folder / "predictions.parquet", parts)
    save_weights(job.weights_out, best["weights"], run.spec.key)
    metrics |= {f"data/{name}": value for name, value in (run.splits.notes | fit.task.unit.notes).items()}
    return only_finite(metrics, missing)


def tags_of(run: Training) -> dict[str, str]:
    """Texts about a finished run for the record: its device, where its data lay, how it rounded, what is missing."""
    device = run.fit.device
    name = diagnostic(run.progress.missing, "device/name", partial(devices.description, device))
    place = {"data/place": place_of(run.fit.train)}
    how = {"precision": run.fit.settings.precision, "deterministic": str(run.deterministic).lower()}
    how |= rounding_tags(run.fit.optimizer, run.channels_last, run.compiled)
    return ({"device/name": name} if name else {}) | place | how | tag_of(run.progress.missing)


def _short_of(run: Training) -> Shortage | None:
    """Whether diagnostics are missing because the memory of the run's GPU did not suffice."""
    on_gpu = run.fit.device.type != "cpu"
    return Shortage.MEMORY if on_gpu and any(map(tells_out_of_memory, run.progress.missing.values())) else None


def _features(run: Training) -> dict[str, tuple[Tensor, Tensor]]:
    """Modality -> features (N, d) and targets (N,) of the training part, for the probe heads."""
    train = run.fit.train
    features = features_of(run.method, run.fit.model, train, run.chunk)
    return {m: (train.having(m, x), train.having(m, train.target_of(m))) for m, x in features.items()}


def _event(run: Training, row: Logged) -> EpochDone:
    return EpochDone(run.spec.key, row["epoch"], run.fit.settings.epochs, row["metrics"], row["when"])
