"""The part of `make perf` on `--deterministic`: the time of a step with it over that without it."""

import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection

import torch

from mcr_bench.bench.core import device as devices
from mcr_bench.bench.core.device import Precision
from mcr_bench.bench.perf.measured import Machine, Measured, in_turns, ratio
from mcr_bench.bench.perf.workloads import precisions, reference_method, training_run, workloads
from mcr_bench.bench.training.loop import Training, train_epoch

ROUNDS = 5


def determinism(machine: Machine) -> Iterator[Measured]:
    """Joint training of each workload, in two processes that take turns: determinism is chosen once for a process."""
    for name, workload in workloads(machine).items():
        for precision in (p for p in precisions(machine, workload) if p != "tf32"):
            yield _of_workload(machine, name, precision)


def _of_workload(machine: Machine, name: str, precision: Precision) -> Measured:
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for deterministic in (True, False):
            ours, theirs = context.Pipe()
            arguments = (theirs, machine.place, name, precision, deterministic)
            processes.append(context.Process(target=serve, args=arguments, daemon=True))
            processes[-1].start()
            theirs.close()
            pipes.append(ours)
        works = [partial(epoch, pipe) for pipe in pipes]
        return ratio(f"{name} {precision}: --deterministic / without", *in_turns(works, machine.device, ROUNDS))
    finally:
        for process in processes:
            process.kill()


def epoch(pipe: Connection) -> None:
    """Let the process at the other end of the pipe train an epoch; RuntimeError with its reason if it fails."""
    pipe.send(None)
    try:
        failed = pipe.recv()
    except EOFError:
        failed = "the process that trains has ended"
    if failed:
        raise RuntimeError(failed)


def serve(pipe: Connection, place: str, name: str, precision: Precision, deterministic: bool) -> None:
    """Train an epoch for every message, and answer with the reason if it fails, else with an empty text."""
    torch.set_num_threads(1)
    run: Training | None = None
    with suppress(EOFError):
        while True:
            pipe.recv()
            try:
                run = run or _made(place, name, precision, deterministic)
                train_epoch(run)
                devices.synchronise(run.fit.device)
                pipe.send("")
            except Exception as error:  # whatever it is, the process that measures reports it
                pipe.send(f"{type(error).__name__}: {error}")


def _made(place: str, name: str, precision: Precision, deterministic: bool) -> Training:
    here = Machine(place, devices.ready(place, deterministic))
    return training_run(here, workloads(here)[name], reference_method(), precision, deterministic=deterministic)
