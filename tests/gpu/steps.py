"""What a step does: it never waits for the GPU, and gets the same batches wherever the samples lie."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.catalog.registry import method_names
from mcr_bench.bench.core import seeds
from mcr_bench.bench.perf.frames import cached_split, random_cache
from mcr_bench.bench.runs.events import Job
from mcr_bench.bench.training.loop import Training, start, train_epoch
from mcr_bench.datasets.base import Batch, Split
from mcr_bench.tests.gpu.checks import Place
from mcr_bench.tests.gpu.staying import job_in, processes, train_staying
from mcr_bench.tests.gpu.training import array_file, planned

STEPS = 3


def no_waiting(place: Place) -> str:
    """No step of any method waits for the GPU, off the steps on which gradients are watched, unless it says why."""
    methods = ["joint", "mcr"] if place.small else method_names()
    plan = planned(methods, str(array_file(place.folder)), 1)
    first = list({one.key: one for run in plan.runs for one in run.dependencies}.values())
    kept = train_staying(first, place.folder / "runs", place)
    jobs = [job_in(kept, spec, place.name) for spec in plan.runs if spec.key in plan.requested]
    jobs = [job for job in jobs if registry.method(job.spec.source).trains]
    found = list(processes(place.processes).map(waiting, jobs))
    faults = [f"{job.spec.label}: {text}" for job, text in zip(jobs, found, strict=True) if text]
    assert not faults, "; ".join(faults)
    told = sorted(job.spec.method for job in jobs if registry.method(job.spec.source).waits)
    return f"{STEPS} steps of {len(jobs)} runs" + (f", but {', '.join(told)}, which say why they wait" if told else "")


def waiting(job: Job) -> str:
    """What waits in some steps of a job's training, empty if nothing does or if its method says why."""
    run = start(job)
    run.fit.epoch = 1
    run.fit.model.train()
    run.method.on_epoch_start()
    train_epoch(run)  # what is made once, such as the state of the optimiser, may wait
    try:
        with _forbidden(job.device):
            unwatched_steps(run)
    except RuntimeError as error:
        return "" if run.method.waits else str(error)
    return "it says that it waits, but does not" if run.method.waits and job.device.startswith("cuda") else ""


def batches(place: Place) -> str:
    """Batches read ahead by a thread, and those of samples that lie on the device, are equal to those read at once."""
    from mcr_bench.bench.training.placing import placed
    from mcr_bench.bench.training.reader import reading

    device = torch.device(place.name)
    split = cached_split(random_cache(place.folder, 8 if place.small else 64), augment=True).to(device)
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(1))
    size = 3 if place.small else 16
    at_once = list(_epoch(split, [index.to(device) for index in order.split(size)]))
    with reading(split, order, size) as parts:
        ahead = list(_epoch(split, parts))
    (brought,) = placed([split], device)
    with reading(brought, order, size) as parts:
        resident = list(_epoch(brought, parts))
    for title, other in (("read ahead", ahead), ("on the device", resident)):
        assert len(other) == len(at_once), title
        for ours, theirs in zip(at_once, other, strict=True):
            different = [m for m, x in ours.inputs.values.items() if not torch.equal(x, theirs.inputs.values[m])]
            assert not different, f"{title}: {', '.join(different)} differ"
            assert torch.equal(ours.target, theirs.target), f"{title}: targets differ"
    return f"{len(at_once)} batches"


def _epoch(split: Split, parts: "Sequence[torch.Tensor]") -> Iterator[Batch]:
    for place, index in enumerate(parts):
        seeds.reseed(split.target.device, 0, "augment", place)
        yield split.training_batch(index)


def unwatched_steps(run: Training) -> None:
    """Some steps as `train_epoch` makes them, without watching."""
    fit = run.fit
    order = torch.arange(len(fit.train), device=fit.device)
    for index in order.split(fit.settings.batch_size)[:STEPS]:
        fit.step += 1
        seeds.reseed(fit.device, run.spec.seed, "augment", fit.epoch, fit.step)
        batch = fit.train.training_batch(index)
        if run.store is not None:
            run.store.expect(batch.target)
        run.method.train_step(batch)


@contextmanager
def _forbidden(device: str) -> Iterator[None]:
    """Inside, an operation that waits for the GPU raises RuntimeError; on a CPU nothing waits."""
    if not device.startswith("cuda"):
        yield
        return
    torch.cuda.synchronize()
    with warnings.catch_warnings(action="ignore"):  # PyTorch says that the mode does not see everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
