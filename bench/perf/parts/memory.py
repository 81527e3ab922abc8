"""The part of `make perf` on memory: the peak of GPU memory in a step of a method over that of joint training."""

import gc
from collections.abc import Iterator

from mcr_bench.bench.catalog import registry
from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.measured import Machine, Measured, of_rounds
from mcr_bench.bench.perf.parts.methods import Variant
from mcr_bench.bench.perf.table import table, variants
from mcr_bench.bench.perf.workloads import (
    Workload,
    precisions,
    random_samples,
    reference_method,
    training_run,
    workloads,
)
from mcr_bench.bench.training.loop import train_epoch


def memory(machine: Machine) -> Iterator[Measured]:
    """Peak memory of joint training, and of the methods that need more, on the networks of images."""
    name, whole = next(iter(workloads(machine).items()))
    workload = whole._replace(samples=2 * whole.batch)  # data count too, but they should not hide the difference
    random_samples.cache_clear()
    reference = reference_method()
    for precision in (p for p in precisions(machine, workload) if p != "tf32"):
        joint = peak_mib(machine, workload, (reference.name, reference, {}), precision)
        title = f"{name} {precision}"
        yield of_rounds(f"{title}: {reference.name}, peak memory", [joint], "MiB")
        for variant in measured():
            peak = peak_mib(machine, workload, variant, precision)
            yield of_rounds(f"{title}: {variant[0]} / {reference.name}, peak memory", [peak / joint])


def measured() -> list[Variant]:
    """The methods whose memory is measured, with their settings."""
    chosen: list[Variant] = []
    for cls in map(registry.method, table()["memory"]):
        chosen.append((cls.name, cls, {}))
        chosen += [(f"{cls.name} ({key}={value})", cls, {key: value}) for key, value in variants(cls.name)]
    return chosen


def peak_mib(machine: Machine, workload: Workload, variant: Variant, precision: Precision) -> float:
    """The largest amount of memory that tensors hold in an epoch of a method, in MiB, its data and weights included."""
    _, cls, settings = variant
    gc.collect()  # what earlier trainings hold would count
    devices.release(machine.device)
    run = training_run(machine, workload, cls, precision, settings)
    train_epoch(run)  # cuDNN tries its algorithms in the first steps, with memory of their own
    devices.reset_peak(machine.device)
    train_epoch(run)
    devices.synchronise(machine.device)
    return devices.peak_bytes(machine.device) / 2**20
