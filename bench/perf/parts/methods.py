"""The part of `make perf` on methods: the time of a step of each method over that of joint training."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, ratio
from mcr_bench.bench.perf.table import table, variants
from mcr_bench.bench.perf.workloads import Workload, precisions, reference_method, training_run, workloads
from mcr_bench.bench.settings.declaration import Value
from mcr_bench.bench.training.loop import train_epoch
from mcr_bench.methods.base import Method

TIMED = ("fp32", "bf16")  # between them lies tf32, whose steps the part on steps times
TOGETHER = 8  # methods that share the turns of one joint training; their models are on the device at the same time
STEPS = 12  # of an epoch of images on a GPU: enough to fill it

Variant = tuple[str, type[Method], Mapping[str, Value]]


def methods(machine: Machine) -> Iterator[Measured]:
    """Every method that trains all modalities from scratch, and some of them in more places (see table.toml)."""
    for name, workload in workloads(machine).items():
        for precision in (p for p in precisions(machine, workload) if p in TIMED):
            waiting = iter(chosen(machine, workload))
            if workload.has_images and machine.kind == "cuda":
                workload = workload._replace(samples=min(workload.samples, STEPS * workload.batch))
            while group := list(islice(waiting, TOGETHER)):
                yield from of_group(machine, f"{name} {precision}", workload, precision, group)


def chosen(machine: Machine, workload: Workload) -> list[Variant]:
    """The methods that are timed on a workload: all of them where steps and models are made fast enough."""
    every = timed(tuple(workload.shapes))
    if machine.kind != "cuda" and not workload.has_images:
        return every
    return [variant for variant in every if variant[1].name in table()["everywhere"]]


def timed(modalities: tuple[str, ...]) -> list[Variant]:
    """The methods that are timed, with their settings: those whose runs start from no other run.

    The title of one with other settings than the default names them.
    """
    reference = reference_method()
    every: list[Variant] = []
    for cls in map(registry.method, registry.method_names()):
        if cls is not reference and cls.role != "unimodal" and cls.trains and not cls().requires(modalities):
            every.append((cls.name, cls, {}))
            every += [(f"{cls.name} ({key}={value})", cls, {key: value}) for key, value in variants(cls.name)]
    return every


def of_group(
    machine: Machine, title: str, workload: Workload, precision: Precision, group: list[Variant]
) -> Iterator[Measured]:
    """The step time of some methods over that of joint training, all taken in turns."""
    reference = reference_method()
    runs = [training_run(machine, workload, cls, precision, settings) for _, cls, settings in group]
    base = training_run(machine, workload, reference, precision)
    works = [partial(train_epoch, run) for run in (base, *runs)]
    joint, *times = in_turns(works, machine.device)
    for (name, _, _), taken in zip(group, times, strict=True):
        yield ratio(f"{title}: {name} / {reference.name}", taken, joint)
